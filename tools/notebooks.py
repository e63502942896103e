"""Notebooks of examples, written from their scripts: examples/notebooks/NAME.ipynb, without outputs.

The docstring becomes the text at the top, a comment on a line of its own that begins a paragraph becomes text before
it, and each paragraph of statements a cell. `--check` writes nothing, and fails if a notebook is not what its script
gives.

    python tools/notebooks.py --check
"""

from __future__ import annotations

import argparse
import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "examples/notebooks"
NAMES = ("01_shared_slope", "04_fused_residual_net", "06_swap_into_your_model")
_KERNEL = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def cells(script: str) -> Iterator[tuple[str, str]]:
    """Yield the kind ("markdown" or "code") and the text of each cell of a script."""
    tree, lines = ast.parse(script), script.splitlines()
    yield "markdown", ast.get_docstring(tree) or ""
    first = tree.body[0].end_lineno or 0
    ends = {last for node in tree.body for last in range(node.lineno, node.end_lineno or node.lineno)}
    imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    ends.update(range(imports[0].lineno, imports[-1].lineno))  # one cell
    paragraph: list[str] = []
    for number, line in enumerate([*lines[first:], ""], start=first + 1):
        if line.strip() or number in ends or (number - 1) in ends:  # a blank line within a statement
            paragraph.append(line)
        elif paragraph:
            yield from _split("\n".join(paragraph).strip("\n"))
            paragraph = []


def _split(paragraph: str) -> Iterator[tuple[str, str]]:
    """Yield the comment that a paragraph begins with as text, and the rest as code."""
    match = re.match(r"(?:# .*\n)+", paragraph)
    if match:
        yield "markdown", re.sub(r"^# ", "", match[0], flags=re.MULTILINE).strip()
        paragraph = paragraph[match.end() :]
    if paragraph.strip():
        yield "code", paragraph


def notebook(name: str) -> str:
    """Return the notebook of an example as JSON."""
    script = (ROOT / f"examples/{name}.py").read_text(encoding="utf-8")
    written: list[dict[str, Any]] = []
    for number, (kind, text) in enumerate(cells(script)):
        source = f"# {text}" if not written else text
        cell = {"cell_type": kind, "id": f"cell-{number}", "metadata": {}, "source": source.splitlines(keepends=True)}
        written.append(cell | ({"execution_count": None, "outputs": []} if kind == "code" else {}))
    content = {"cells": written, "metadata": _KERNEL, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def main() -> None:
    """Write the notebooks, or check them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a notebook would change")
    check = parser.parse_args().check
    FOLDER.mkdir(exist_ok=True)
    for name in NAMES:
        path, text = FOLDER / f"{name}.ipynb", notebook(name)
        if not check:
            path.write_text(text, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            raise SystemExit(f"{path.relative_to(ROOT)} is not what its script gives: python tools/notebooks.py")


if __name__ == "__main__":
    main()
