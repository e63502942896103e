"""Folders, names and specs of strangers: nothing in them runs, leads out of the study's folder, or takes memory."""

import pickle
import sys
import warnings
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from slopewise.cli import app
from slopewise.errors import SlopewiseError, SpecError
from slopewise.report import EXPORTS, write_html
from slopewise.study import Store, Study, StudySpec, load_study, read_spec
from slopewise.study.engines import Workplace
from slopewise.testing import InProcessEngine, synthetic_study

OUTSIDE = (
    "../../out",
    "/etc/passwd",
    "..",
    ".",
    "a/../../b",
    "C:\\x",
    "con",
    "a\0b",
    "~root",
    "$HOME",
    "-rf",
    "\u2025/\u2025",
)


class Payload:
    """Object whose pickle makes a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


watching: list[bool] = []  # an audit hook cannot be removed


@pytest.fixture
def no_pickles(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let every pickle that names a class or function raise, and `torch.load` where it would load such a one."""
    load = torch.load

    def hook(event: str, _: object) -> None:
        if event == "pickle.find_class" and watching:
            raise AssertionError("something was unpickled")

    def plain(*arguments: object, **options: object) -> object:
        assert options.get("weights_only") is True
        return load(*arguments, **options)

    monkeypatch.setattr(torch, "load", plain)
    sys.addaudithook(hook)
    watching.append(True)
    with pytest.raises(AssertionError, match="unpickled"):
        pickle.loads(pickle.dumps(Payload(Path("never"))))
    yield
    watching.clear()


def test_no_pickle_of_a_studys_folder_is_loaded(tmp_path: Path, no_pickles: None) -> None:
    """Every file that a study's folder may hold is a pickle, or has pickles beside it."""
    out, hit = tmp_path / "study", tmp_path / "hit"
    study = Study(arms="relu,elu", seeds=2, train={"epochs": 1}, data={"train_size": 100})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        study.run(out, engine=InProcessEngine())
        evil = pickle.dumps(Payload(hit))
        for trial in [("relu", 2), ("elu", 2)]:
            folder = out / "trials" / trial[0] / f"seed-{trial[1]}"
            for name in ("checkpoint.pt", "checkpoints/1.pt", "checkpoints/00000001.pt", "log.txt"):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(evil)
        for name in ("running.json", "report.html", "export.json", "study.pkl", "model.pt", ".lock"):
            (out / name).write_bytes(evil)
        run = CliRunner().invoke
        for command in (
            ["status", str(out)],
            ["status", str(out), "--json"],
            ["report", str(out)],
            ["claims", str(out)],
            ["paragraph", str(out)],
            ["export", str(out), "--format", "json"],
            ["export", str(out), "--format", "csv"],
            ["inspect", str(out / "model.pt")],
            ["judge", str(out), "--metric", "x", "--better", "higher", "--control", "relu", "--margin", "1"],
        ):
            result = run(app, command)
            assert not isinstance(result.exception, AssertionError), (command, result.output)
        Study(arms="relu,elu", seeds=3, train={"epochs": 1}, data={"train_size": 100}).run(
            out, engine=InProcessEngine()
        )
    assert not hit.exists()


def test_no_name_leads_out_of_the_folder(tmp_path: Path) -> None:
    """Arms with the names of paths: trials' folders, exports and the page stay below the study's folder."""
    out = tmp_path / "in" / "study"
    out.mkdir(parents=True)
    arms = [name for name in OUTSIDE if "\0" not in name]
    folders = [Workplace(out, cell).of(arm, 0) for arm in OUTSIDE for cell in ("", "model.name = '../../x'")]
    assert len(set(folders)) == len(folders)
    for folder in folders:
        assert folder.resolve().relative_to(out.resolve() / "trials").parts[1:] == (folder.name,)
    study = synthetic_study(["relu", *arms], 2, epochs=1)
    study = replace(study, spec={**study.spec, "name": "../../name"}, data={**study.data, "name": "/abs"})
    for form, write in EXPORTS.items():
        with suppress(ModuleNotFoundError):
            write(study, out / f"export-{form}")
    write_html(study, out / "report.html")
    spec = StudySpec(arms=[{"name": arm, "activation": "relu"} for arm in study.arms], seeds=2, name="../../name")
    with closing(Store.create(out, spec, study.data)) as store:
        for trial in study.trials:
            store.add(trial, None)
    assert {trial.arm for trial in load_study(out).record.trials} == set(study.arms)
    assert sorted(path.name for path in tmp_path.rglob("*") if not path.is_relative_to(out)) == ["in"]
    assert all(path.resolve().is_relative_to(out) for path in out.rglob("*"))


def test_a_huge_spec_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, read = tmp_path / "huge.toml", []
    with path.open("wb") as file:
        file.truncate(100 * 2**20)  # a sparse file
    opened = Path.open

    def counting(self: Path, *arguments: object, **options: object):
        file = opened(self, *arguments, **options)
        reader = file.read

        class Counting:
            def __enter__(self):
                return self

            def __exit__(self, *_: object) -> None:
                file.close()

            def read(self, size: int = -1) -> bytes:
                content = reader(size)
                read.append(len(content))
                return content

        return Counting()

    monkeypatch.setattr(Path, "open", counting)
    with pytest.raises(SpecError, match=r"huge.toml' is no spec: it has more than 1,048,576 bytes"):
        read_spec(path)
    assert sum(read) <= 2**20 + 1


@pytest.mark.parametrize("text", ["a = " + "[" * 5000, "a." * 5000 + "b = 1", "a = " + "{b=" * 5000 + "1" + "}" * 5000])
def test_deep_specs_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "deep.toml").write_text(text)
    with pytest.raises(SlopewiseError, match=r"deep.toml"):
        read_spec(tmp_path / "deep.toml")
