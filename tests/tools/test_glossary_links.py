"""The tool that links words to the glossary: what it looks at, and what it writes."""

import runpy
from pathlib import Path

import pytest

TOOL = runpy.run_path(str(Path(__file__).parents[2] / "tools/glossary_links.py"))
PAGE = TOOL["ROOT"] / "docs/deep/page.md"


def linked(text: str) -> str:
    return TOOL["with_links"](PAGE, text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Two arms, one arm.", "Two [arms](../glossary.md#arm), one arm."),
        ("The [arm](x.md) of an arm", None),  # a link of any kind explains it
        ("# Arm\n\n`arm`\n\n```\narm\n```\n\n| arm |\n\n<!-- arm -->\n", None),
        ("<!-- tools/x.py writes this -->\nan arm\n<!-- end -->", None),
        ("A shared\nslope", "A [shared\nslope](../glossary.md#shared-slope)"),
        ("It diverged.", "It [diverged](../glossary.md#diverge)."),
        ("A harmless charm", None),
        ("Claims: small-spread, spread-first", None),  # names, not words
    ],
)
def test_the_first_use_becomes_a_link(text: str, expected: str | None) -> None:
    assert linked(text) == (expected or text)
    assert not list(TOOL["missing"](linked(text)))


def test_every_page_of_the_repository_is_linked() -> None:
    assert [path.name for path in TOOL["pages"]() if list(TOOL["missing"](path.read_text(encoding="utf-8")))] == []
