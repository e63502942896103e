"""A source of another package: one class over the contract, and no other file."""

import pytest
from typer.testing import CliRunner

from slopewise.cli import app
from slopewise.tables import Request, Table, TableSource, register_table_source, unregister_table_source
from slopewise.testing import check_table_source


class LogSource(TableSource):
    """Lines of a training script: "arm=relu seed=0 psnr=31.2"."""

    title = "training log (.log)"

    def matches(self, path):
        return path.suffix == ".log"

    def read(self, path, request):
        rows = [dict(cell.split("=") for cell in line.split()) for line in path.read_text().splitlines()]
        places = tuple(f"line {number + 1}" for number in range(len(rows)))
        return Table(path.name, tuple(rows[0]), lambda name: [row[name] for row in rows], places)


@pytest.fixture
def log(tmp_path):
    scores = {"relu": 31.0, "prelu": 31.6}
    lines = [f"arm={arm} seed={seed} psnr={score + seed / 100}" for arm, score in scores.items() for seed in range(6)]
    path = tmp_path / "train.log"
    path.write_text("\n".join(lines))
    return path


def test_it_keeps_the_contract(log):
    check_table_source(LogSource(), log, Request({"psnr": "higher"}))


def test_it_is_judged_once_it_is_registered(log, judged):
    register_table_source("log", LogSource())
    try:
        (contrast,) = judged(log, arm="arm").contrasts()
    finally:
        unregister_table_source("log")
    assert contrast.verdict == "helps"
    with pytest.raises(ValueError, match="cannot be registered"):
        register_table_source("csv", LogSource())


def test_the_command_reads_a_file_once(log):
    class Counting(LogSource):
        reads = 0

        def read(self, path, request):
            self.reads += 1
            return super().read(path, request)

    source = Counting()
    register_table_source("log", source)
    try:
        settings = "--arm arm --seed seed --metric psnr --better higher --control relu --margin 0.1"
        result = CliRunner().invoke(app, ["judge", str(log), *settings.split()])
    finally:
        unregister_table_source("log")
    assert (result.exit_code, source.reads) == (0, 1), result.output


class Forgetful(LogSource):
    """A source whose rows have no places."""

    def read(self, path, request):
        table = super().read(path, request)
        return Table(table.name, table.names, table.read, table.places[1:])


def test_the_kit_says_what_is_wrong(log):
    with pytest.raises(AssertionError, match="column 'arm' has 12 values for 11 rows"):
        check_table_source(Forgetful(), log, Request({"psnr": "higher"}))
