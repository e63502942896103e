"""Every alarm has a page, and what pages say of thresholds is so."""

import re
import runpy
import shutil
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from slopewise.monitor import ADVICE, ALARM_IDS, Alarm, Thresholds

ROOT = Path(__file__).parents[2]
DEFAULTS = {field.name: field.default for field in fields(Thresholds) if field.name != "ignore"}
OF = {
    "slope-runaway": {"runaway"},
    "dead-units": {"dead", "patience", "values"},
    "starved-gradient": {"starved", "patience"},
    "linear-site": {"linear", "patience", "values"},
    "slope-negative": {"negative", "near_0", "patience"},
    "slope-above-1": {"above_1", "near_1", "patience"},
    "slope-near-0": {"most", "near_0", "patience"},
    "slope-near-1": {"most", "near_1", "patience"},
    "slope-stuck": {"stuck"},
}


def table(text):
    return {name: float(value) for name, value in re.findall(r"^\| `(\w+)` \| ([\d.]+) \|", text, re.MULTILINE)}


@pytest.mark.parametrize("kind", ALARM_IDS)
def test_page(kind):
    alarm = Alarm(kind, "act", 1, 1, "")
    text = (ROOT / alarm.page).read_text(encoding="utf-8")
    assert text.startswith(f"# {kind}\n")
    assert f": {kind} at " in text  # as it is shown
    assert table(text) == {name: DEFAULTS[name] for name in OF.get(kind, set())}
    parts = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert parts == [
        "What it means",
        "Why it matters",
        "What it shows",
        "When it is raised",
        "What to do",
        "How it was checked",
    ]
    for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        compile(code, alarm.page, "exec")
    assert alarm.advice == ADVICE[kind]


def test_the_table_of_all():
    text = (ROOT / "docs" / "alarms" / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| \[([\w-]+)\]\(\1\.md\) \|", text, re.MULTILINE) == list(ALARM_IDS)
    assert table(text) == DEFAULTS
    assert {path.stem for path in (ROOT / "docs" / "alarms").glob("*.md")} == {*ALARM_IDS, "README"}


def test_the_tool_that_writes_the_pages_notices_a_stale_sentence(tmp_path, monkeypatch):
    for folder in ("docs", "tools"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    monkeypatch.setattr(sys, "argv", ["alarms.py", "--check"])
    runpy.run_path(str(tmp_path / "tools" / "alarms.py"), run_name="__main__")
    page = tmp_path / "docs" / "alarms" / "dead-units.md"
    text = page.read_text(encoding="utf-8")
    page.write_text(text.replace("It is raised when at least", "It is raised if about"), encoding="utf-8")
    with pytest.raises(SystemExit, match=r"dead-units\.md: differs from the rules"):
        runpy.run_path(str(tmp_path / "tools" / "alarms.py"), run_name="__main__")
