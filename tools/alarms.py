"""The parts of docs/ that come from the rules of alarms: tables, and when each alarm is raised.

python tools/alarms.py           # writes these parts, and the first draft of a page that is missing
python tools/alarms.py --check   # fails if a part is not what this would write
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import Field, fields
from pathlib import Path
from typing import Any

from slopewise.recording.alarms import AlarmRule, rules, threshold_fields
from slopewise.slopes import alarm_kind

DOCS = Path(__file__).parents[1] / "docs"
BEGIN, END = "<!-- tools/alarms.py writes this: {} -->\n", "<!-- end -->\n"


def table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """Return a table in Markdown."""
    lines = [header, ("---",) * len(header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def alarms() -> str:
    """Return the table of all alarms, the most serious first."""
    return table(("alarm", "raised when"), ((f"[{rule.id}]({rule.id}.md)", rule.raised_when) for rule in rules()))


def thresholds(chosen: Iterable[Field[Any]]) -> str:
    """Return the table of some thresholds."""
    rows = ((f"`{each.name}`", number(each.default), each.metadata["meaning"]) for each in chosen)
    return table(("threshold", "default", "meaning"), rows)


def condition(rule: AlarmRule[Any]) -> str:
    """Return when a rule raises its alarm, with the table of its thresholds if it has any."""
    sentence = f"It is raised when {rule.raised_when}.\n"
    return f"{sentence}\n{thresholds(fields(rule))}" if fields(rule) else sentence


def slopes_alone() -> str:
    """Return the table of the alarms that a checkpoint can raise."""
    rows = (
        (alarm_kind(rule.id), f"[{rule.id}](alarms/{rule.id}.md)", rule.meaning) for rule in rules() if rule.meaning
    )
    return table(("alarm", "of the monitor", "meaning"), rows)


def number(value: float) -> str:
    """Return a default without an exponent."""
    return str(value) if isinstance(value, int) else f"{value:f}".rstrip("0")


def parts() -> dict[Path, dict[str, str]]:
    """Return the parts of each page by name."""
    shared = thresholds(each for each, _ in threshold_fields().values())
    return {
        DOCS / "alarms" / "README.md": {"alarms": alarms(), "thresholds": shared},
        DOCS / "inspect.md": {"alarms about slopes": slopes_alone()},
        **{page(rule): {f"condition of {rule.id}": condition(rule)} for rule in rules()},
    }


def page(rule: AlarmRule[Any]) -> Path:
    """Return the page about a rule."""
    return DOCS / "alarms" / f"{rule.id}.md"


def draft(rule: AlarmRule[Any]) -> str:
    """Return the first draft of a page, with the sections that every page has."""
    begin = BEGIN.format(f"condition of {rule.id}")
    return f"""# {rule.id}

## What it means

## Why it matters

## What it shows

```text
step 1: {rule.id} at LAYER: EVIDENCE
```

## When it is raised

{begin}{END}
## What to do

{rule.advice}

## How it was checked
"""


def written(path: Path, named: dict[str, str]) -> str:
    """Return a page with its parts as the rules have them now."""
    text = path.read_text(encoding="utf-8")
    for name, part in named.items():
        begin = BEGIN.format(name)
        before, mark, rest = text.partition(begin)
        if not mark or END not in rest:
            raise SystemExit(f"{path.relative_to(DOCS.parent)}: no place for '{name}': add {begin}{END}")
        text = f"{before}{begin}{part}{END}{rest.partition(END)[2]}"
    return text


def main() -> None:
    """Write the pages, or check them."""
    check = "--check" in sys.argv
    for rule in rules():
        if not page(rule).exists():
            if check:
                raise SystemExit(f"docs/alarms/{rule.id}.md is missing: run python tools/alarms.py")
            page(rule).write_text(draft(rule), encoding="utf-8")
    for path, named in parts().items():
        text = written(path, named)
        if not check:
            path.write_text(text, encoding="utf-8")
        elif text != path.read_text(encoding="utf-8"):
            raise SystemExit(f"{path.relative_to(DOCS.parent)}: differs from the rules: run python tools/alarms.py")


if __name__ == "__main__":
    main()
