"""Tables and lists of a text that is printed with aligned columns."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from slopewise.support._text import printable


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows as lines of aligned columns; the first row is the heading.

    Example:
        >>> table([("a", "bc"), ("def", "g")])
        ['a    bc', '───  ──', 'def  g']
    """
    rows = [[*map(printable, row)] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    texts = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return [texts[0], "  ".join("─" * width for width in widths), *texts[1:]]


def grouped(reasons: Mapping[str, str]) -> list[str]:
    """Return a line for each reason with all names that it applies to: a network has many blocks of one kind."""
    by_reason: defaultdict[str, list[str]] = defaultdict(list)
    for name, reason in reasons.items():
        by_reason[reason].append(name or "(the model)")
    return [f"  {', '.join(names)}: {reason}" for reason, names in by_reason.items()]


def section(title: str, lines: Sequence[str]) -> list[str]:
    return ["", f"{title}:", *lines] if lines else []
