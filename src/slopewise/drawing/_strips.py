"""Strips of characters on a terminal that show distributions on one scale."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_LONGEST = 72  # columns of a strip


@dataclass(frozen=True, slots=True)
class Strip:
    """One distribution.

    Attributes:
        name: Label on the left.
        five: Minimum, lower quartile, median, upper quartile and maximum; None leaves the strip empty.
        single: True if there is one value only, which is drawn as a median without a span.
    """

    name: str
    five: tuple[float, float, float, float, float] | None
    single: bool = False


@dataclass(frozen=True, slots=True)
class Signs:
    """Characters that strips are drawn with."""

    span: str
    middle: str
    median: str
    mark: str
    lower: str
    higher: str
    cut: str


_BLOCKS = Signs("─", "█", "◆", "┊", "◂", "▸", "…")
_ASCII = Signs("-", "=", "O", ":", "<", ">", "~")


def signs_in(encoding: str) -> Signs:
    """Return the characters for an encoding, ASCII if it lacks others.

    Example:
        >>> signs_in("utf-8").median, signs_in("latin-1").median
        ('◆', 'O')
    """
    try:
        "".join((_BLOCKS.span, _BLOCKS.middle, _BLOCKS.median, _BLOCKS.mark, _BLOCKS.cut)).encode(encoding)
    except UnicodeEncodeError:
        return _ASCII
    return _BLOCKS


def strip_lines(strips: Sequence[Strip], width: int, signs: Signs, reach: tuple[float, float]) -> Iterator[str]:
    """Yield a ruler with 0 and 1, then a line for each strip: all values, the middle half, the median.

    Args:
        strips: Distributions.
        width: Columns of the terminal.
        signs: Characters to draw with.
        reach: Widest ends of the scale. One outlier must not squeeze all others into a column; arrows show that a
            strip goes on.

    Example:
        >>> for line in strip_lines([Strip("act", (-0.5, 0.0, 0.25, 0.5, 1.0))], 30, signs_in("ascii"), (-1.0, 2.0)):
        ...     print(line)
                     0               1
        act  --------====O====--------
    """
    drawn = [strip.five for strip in strips if strip.five]
    low = max(min([0.0, *(five[0] for five in drawn)]), reach[0])
    high = min(max([1.0, *(five[-1] for five in drawn)]), reach[1])
    label = min(max(len(strip.name) for strip in strips), width // 3)
    columns = min(width - label - 2, _LONGEST)

    def column(value: float) -> int:
        return round((min(max(value, low), high) - low) / (high - low) * (columns - 1))

    ruler = [" "] * columns
    ruler[column(0)], ruler[column(1)] = "0", "1"
    yield f"{'':{label}}  {''.join(ruler)}".rstrip()
    for strip in strips:
        name = strip.name if len(strip.name) <= label else signs.cut + strip.name[len(strip.name) - label + 1 :]
        line = [" "] * columns
        line[column(0)] = line[column(1)] = signs.mark
        if strip.five:
            _draw(line, [column(value) for value in strip.five], signs, single=strip.single)
            if strip.five[0] < low:
                line[0] = signs.lower
            if strip.five[-1] > high:
                line[-1] = signs.higher
        yield f"{name:{label}}  {''.join(line)}".rstrip()


def _draw(line: list[str], columns: Sequence[int], signs: Signs, *, single: bool) -> None:
    lowest, lower, median, upper, highest = columns
    if not single:
        line[lowest : highest + 1] = signs.span * (highest + 1 - lowest)
        line[lower : upper + 1] = signs.middle * (upper + 1 - lower)
    line[median] = signs.median
