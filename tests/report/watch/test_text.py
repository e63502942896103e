"""Summary of a watched run, read as text."""

import io
import math
from dataclasses import replace

import pytest
from rich.console import Console

from slopewise.monitor import ADVICE, Alarm, End, Header, Recording, Sample, SiteSample
from slopewise.report import print_recording, watch_summary
from slopewise.report.watch.info.tables import extent, not_finite_rows, overhead, site_rows, slope_rows, verdict
from slopewise.testing import synthetic_recording

DEEP = synthetic_recording(layers=8, prefix="encoder.stages.0.blocks.", diverged=True)


def shown(recording, width=80, encoding="utf-8"):
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="\n", errors="replace")
    print_recording(recording, Console(file=stream, width=width, color_system=None))
    stream.flush()
    return stream.buffer.getvalue().decode(encoding)


def row(text, name):
    return next(line.split() for line in text.splitlines() if line.startswith(name))


@pytest.mark.parametrize("width", [50, 75, 80, 104, 132, 160])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "cp437"])
def test_fits_its_width_and_names_every_layer(width, encoding):
    text = shown(DEEP, width, encoding)
    assert max(len(line.rstrip()) for line in text.splitlines()) <= width
    assert "\x1b" not in text
    names = [site.site.split("blocks.")[1] for site in DEEP.samples[-1].sites]
    for name in names:
        assert f"\n{name} " in text or f"\nencoder.stages.0.blocks.{name} " in text
    assert "…" not in text
    assert "?" not in text  # in no encoding was a sign replaced


def test_a_row_has_the_sites_figures():
    recording = synthetic_recording(layers=2, samples=20)
    dead = recording.samples[-1].sites[1]
    count = str(len(dead.dead))
    since = next(s.step for s in recording.samples if s.sites[1].dead)  # once dead it stays so here
    cells = row(shown(recording, 160), "block1.act")
    share = f"{100 * dead.positive:.0f}"
    assert cells == [
        "block1.act",
        "relu",
        "16",
        share,
        "%",
        count,
        count,
        count,
        str(since),
        f"{dead.pass_through:.2f}",
    ]
    assert row(shown(recording, 80), "block1.act") == cells
    assert row(shown(recording, 60), "block1.act") == ["block1.act", "16", count, count, cells[-1]]


def test_units_that_came_back_are_dead_since_they_died_again():
    def sample(step, *dead):
        return Sample(step, 1, (SiteSample("act", "relu", 4, 9, 0.5, dead, (), dead, 0.5),), (), ())

    samples = (sample(1, 0), sample(11), sample(21, 2), sample(31, 1, 2))
    (cells,) = site_rows(Recording(Header("Net", 10, 0.0), samples))
    assert cells[7:9] == ("2", "21")
    (cells,) = site_rows(Recording(Header("Net", 10, 0.0), samples[:2]))
    assert cells[7:9] == ("0", "")


def test_a_site_that_is_not_in_the_latest_sample_is_shown_as_it_was():
    one = SiteSample("one", "relu", 4, 9, 0.5, (1,), (), (1,), 0.5)
    samples = (Sample(1, 1, (one,), (), ()), Sample(11, 1, (replace(one, site="other"),), (), ()))
    assert [row[0] for row in site_rows(Recording(Header("Net", 10, 0.0), samples))] == ["one", "other"]


def test_slopes_are_those_of_the_latest_sample():
    recording = synthetic_recording(layers=3)
    latest = recording.samples[-1].slopes[0]
    cells = slope_rows(recording)[0]
    assert cells[:2] == ("block0.act", "16")
    assert float(cells[2]) == pytest.approx(latest.summary.median, abs=5e-4)
    assert float(cells[-1]) == pytest.approx(latest.from_start, rel=1e-2)


def test_each_kind_of_alarm_is_explained_once_and_the_most_serious_first():
    alarms = [Alarm("dead-units", f"act{n}", 100, 50, f"evidence {n}") for n in range(9)]
    alarms += [Alarm("not-finite", "act0", 150, 150, "some")]
    text = " ".join(shown(replace(synthetic_recording(layers=1), alarms=tuple(alarms)), 100).split())
    assert "10 alarms: not-finite and dead-units (9)" in text
    assert text.index("! not-finite at act0, step 150: some") < text.index(
        "! dead-units at act0, since step 50: evidence 0"
    )
    assert "evidence 5" in text
    assert "evidence 6" not in text
    assert "and at 3 more" in text
    for kind in ("not-finite", "dead-units"):
        assert text.count(ADVICE[kind]) == 1


def test_what_is_not_finite_is_said():
    rows = dict(not_finite_rows(DEEP))
    assert rows["encoder.stages.0.blocks.2.conv"] == "gradient and weight"
    assert "Not finite: encoder.stages.0.blocks.2.act (16 of 16 units)" in " ".join(shown(DEEP, 200).split())
    assert "Not finite" not in shown(synthetic_recording())


def test_what_was_not_seen_how_it_ended_and_what_it_took():
    base = synthetic_recording(layers=1, samples=4)
    end = End(200, 10.0, 0.25, ("a compiled part",), "ValueError: [bold]no[/bold]")
    text = shown(replace(base, end=end), 120)
    assert "The run ended by an error: ValueError: [bold]no[/bold]" in text
    assert "Measuring took 2.5 % of the time: 0.250 of 10.0 seconds." in text
    assert "Not seen: a compiled part" in text
    assert extent(replace(base, end=end)) == "4 samples, one every 50 steps, of 200 steps"
    assert overhead(replace(base, end=None)) == "Measuring took 0.0160 seconds so far."
    assert extent(replace(base, end=None)) == "4 samples, one every 50 steps, up to step 151 so far"


@pytest.mark.parametrize("options", [{"layers": 0, "samples": 0}, {"samples": 0}, {"layers": 1, "samples": 1}])
def test_next_to_nothing_can_be_shown(options):
    for finished in (True, False):
        recording = synthetic_recording(**options, finished=finished)
        assert "no alarms" in shown(recording)
        assert verdict(recording) == "no alarms"


def test_without_slopes_there_is_no_table_of_them():
    assert "median" not in shown(synthetic_recording(slopes=False))
    assert "median" in shown(synthetic_recording())


def test_str_is_plain_and_as_wide_as_the_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    text = str(watch_summary(DEEP))
    assert max(map(len, text.splitlines())) <= 80
    assert not any(line.endswith(" ") for line in text.splitlines())
    assert text == watch_summary(DEEP).text(80)
    monkeypatch.setenv("COLUMNS", "160")
    assert "never positive" in str(watch_summary(DEEP))


def test_rich_prints_it_in_colour_and_users_names_are_no_markup():
    recording = synthetic_recording(layers=3, prefix="[red]x[/red]")
    stream = io.StringIO()
    Console(file=stream, width=160, force_terminal=True, color_system="standard").print(watch_summary(recording))
    assert "\x1b[1;31m" in stream.getvalue()
    assert "[red]x[/red]0.act" in stream.getvalue()


def test_a_huge_slope_leaves_room_for_the_names_of_layers():
    recording = synthetic_recording(layers=4, prefix="encoder.stages.0.blocks.")
    *earlier, last = recording.samples
    first, *others = last.slopes
    huge = replace(first, summary=replace(first.summary, median=1e30, maximum=1.2e30, minimum=math.nan))
    recording = replace(recording, samples=(*earlier, replace(last, slopes=(huge, *others))))
    text = shown(recording, 80).rpartition("In encoder.stages.0.blocks\n")[2]
    assert {"1.0e+30", "1.2e+30", "nan"} <= set(row(text, first.layer.split("blocks.")[1]))


def test_columns_for_which_there_is_no_room_are_named():
    assert "Wider terminals" not in shown(DEEP, 80)
    assert "weights" in shown(DEEP, 80)
    text = " ".join(shown(DEEP, 70).split())
    assert "Wider terminals show slopes, lowest, highest, gradient SNR, update ratio and vs weights." in text
