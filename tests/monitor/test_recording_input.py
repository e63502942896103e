"""Files that say they are recordings and hold something else: one short line, however much it is."""

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from slopewise.errors import SlopewiseError
from slopewise.live import Loop
from slopewise.monitor import Recording, read_recording
from slopewise.recording import is_recording, to_line
from slopewise.report import print_recording
from slopewise.study import read_running
from slopewise.testing import synthetic_recording

RUN = synthetic_recording(layers=3)
HEADER, SAMPLE, ALARM, END = map(to_line, (RUN.header, RUN.samples[0], RUN.alarms[0], RUN.end))
DEEP = "[" * 60_000 + "]" * 60_000


def changed(line: str, **fields: Any) -> str:
    ((kind, item),) = ((kind, item) for kind, item in json.loads(line).items() if isinstance(item, dict))
    return json.dumps({**json.loads(line), kind: {**item, **fields}})


WRONG = {
    "deep": (HEADER, DEEP),
    "deep header": ('{"header": ' + DEEP + "}",),
    "number as a name": (changed(HEADER, name=5),),
    "text as a number": (changed(HEADER, every="x"),),
    "list as a header": ('{"header": [1]}',),
    "nothing as a header": ('{"header": null}',),
    "text as a list": (HEADER, changed(SAMPLE, sites="abc")),
    "alarm of another version": (HEADER, changed(ALARM, id="nope")),
    "place": (HEADER, changed(ALARM, where=[["x"] * 10**5] * 10)),
    "digits": (HEADER, changed(END, step=0).replace('"step": 0', f'"step": {"9" * 10_000}')),
    "no step": (HEADER, changed(END, step=None)),
    "fields": (HEADER, json.dumps({"sample": {"step": 1}})),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_line_of_something_else_is_named(case: str, tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    path.write_text("\n".join(WRONG[case]) + "\n")
    with pytest.raises(SlopewiseError) as caught:
        read_recording(path)
    assert f"line {len(WRONG[case])}: not of a recording by slopewise.Monitor" in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("case", [case for case, lines in WRONG.items() if len(lines) > 1])
def test_a_page_that_follows_it_says_so(case: str, tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    path.write_text("\n".join(WRONG[case]) + "\n")
    loop = Loop(path)
    loop.update()
    assert loop.latest is None or loop.latest.step
    assert loop.fault


def test_deeply_nested_json_is_no_recording_and_no_run(tmp_path: Path) -> None:
    (tmp_path / "file.bin").write_text(DEEP)
    assert not is_recording(tmp_path / "file.bin")
    (tmp_path / "running.json").write_text(DEEP)
    assert read_running(tmp_path) is None


LONG = "x" * 10**6
END_OF = replace(RUN.end, error=LONG, notes=(LONG,) * 5) if RUN.end else None
LONG_RUNS: dict[str, Callable[[], Recording]] = {
    "name": lambda: replace(RUN, header=replace(RUN.header, name=LONG, model=LONG)),
    "alarms": lambda: replace(RUN, alarms=tuple(replace(alarm, where=LONG, evidence=LONG) for alarm in RUN.alarms)),
    "end": lambda: replace(RUN, end=END_OF),
    "notes": lambda: replace(RUN, end=replace(END_OF, error="", notes=("note",) * 100_000)) if END_OF else RUN,
}


@pytest.mark.parametrize("case", LONG_RUNS)
def test_what_is_shown_of_it_is_bounded(case: str) -> None:
    stream = io.StringIO()
    print_recording(LONG_RUNS[case](), Console(file=stream, width=100))
    assert len(stream.getvalue()) < 200_000
