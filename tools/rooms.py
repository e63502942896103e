"""The table of rooms in CONTRIBUTING.md, written from the contract in pyproject.toml and the rooms' own docstrings.

python tools/rooms.py           # writes the table
python tools/rooms.py --check   # fails if it is not what this would write
"""

from __future__ import annotations

import ast
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "CONTRIBUTING.md"
BEGIN, END = "<!-- tools/rooms.py writes this table -->\n", "<!-- end of the table -->\n"


def layers() -> list[list[str]]:
    """Return the rooms of each layer, the highest first."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    (contract,) = (each for each in settings["contracts"] if each["id"] == "rooms")
    return [layer.split(" | ") for layer in contract["layers"]]


def purpose(room: str) -> str:
    """Return the first sentence of a room's docstring."""
    folder = ROOT / "src" / "slopewise" / room
    source = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
    text = ast.get_docstring(ast.parse(source.read_text(encoding="utf-8"))) or ""
    return text.split("\n\n")[0].replace("\n", " ").partition(". ")[0].rstrip(".")


def table() -> str:
    """Return the table, a row for each layer."""
    rows = ["| layer | rooms |", "| --- | --- |"]
    for number, rooms in enumerate(layers(), start=1):
        named = "<br>".join(f"`{room}`: {purpose(room)}" for room in rooms)
        rows.append(f"| {number} | {named} |")
    return "\n".join(rows) + "\n"


def main() -> None:
    """Write the page, or check it."""
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    new = before + BEGIN + table() + END + after
    if "--check" not in sys.argv:
        PAGE.write_text(new, encoding="utf-8")
    elif new != text:
        raise SystemExit("CONTRIBUTING.md: the table of rooms is out of date: run python tools/rooms.py")


if __name__ == "__main__":
    main()
