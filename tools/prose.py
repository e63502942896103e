"""Check the form of docstrings: they start with a verb or a noun, and each argument entry has a subject.

python tools/prose.py [PATH ...]   # lists what is against the rule, by default in src, tests, tools and benchmarks
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
FIRST = {"what", "whether", "how", "where", "which", "when", "why", "who", "that", "likewise"}
ENTRY = FIRST | {"of"}
SECTIONS = {"Args:", "Attributes:"}
SECTION = re.compile(r"[A-Z]\w+:$")
ENTRY_LINE = re.compile(r"    (?P<name>[\w*`][\w*`, .]*?)(?: \([^)]*\))?: +(?P<first>[\w']+)")


def complaints(source: str) -> Iterator[tuple[int, str]]:
    """Yield the line and the offending text of each docstring and entry against the rule."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        text = ast.get_docstring(node)
        if not text:
            continue
        first = node.body[0].lineno
        if word(text) in FIRST:
            yield first, text.splitlines()[0]
        section = ""
        for offset, line in enumerate(text.splitlines()):
            if SECTION.match(line):
                section = line
            elif line and not line.startswith(" "):
                section = ""
            elif section in SECTIONS and (entry := ENTRY_LINE.match(line)) and entry["first"].lower() in ENTRY:
                yield first + offset, line.strip()


def word(text: str) -> str:
    """Return the first word in lower case."""
    match = re.match(r"[A-Za-z']+", text)
    return match[0].lower() if match else ""


def main(paths: list[str]) -> None:
    """Print what is against the rule, and fail if anything is."""
    roots = [Path(path) for path in paths] or [ROOT / name for name in ("src", "tests", "tools", "benchmarks")]
    files = [file for root in roots for file in (sorted(root.rglob("*.py")) if root.is_dir() else [root])]
    lines = [f"{file}:{line}: {text}" for file in files for line, text in complaints(file.read_text(encoding="utf-8"))]
    if lines:
        raise SystemExit("\n".join([*lines, f"{len(lines)} docstrings or entries start with no verb or noun"]))


if __name__ == "__main__":
    main(sys.argv[1:])
