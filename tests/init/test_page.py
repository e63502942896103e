"""The page's table is what the page's code prints."""

import contextlib
import io
import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "initialisation.md"


@pytest.mark.slow
def test_table():
    page = PAGE.read_text(encoding="utf-8")
    (code,) = (block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "DRAWS" in block)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, str(PAGE), "exec"), {})  # the page's own code

    def numbers(text):
        rows = re.findall(r"^\| (\d[^a-z\n]*(?:e\+\d+)?[^a-z\n]*(?:e\+\d+)?[^a-z\n]*) \|$", text, re.MULTILINE)
        return [[float(cell) for cell in row.split("|")] for row in rows]

    assert len(numbers(page)) == 4
    for shown, row in zip(numbers(page), numbers(printed.getvalue()), strict=True):
        assert row == pytest.approx(shown, rel=0.02)
