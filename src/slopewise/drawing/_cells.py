"""Contents of a heat map as plain data, without colours."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cell:
    """Cell of a heat map: one layer at one step.

    Attributes:
        row: Name of the layer or call site.
        value: Value that is drawn. None leaves a gap; NaN and infinities have a colour of their own.
        text: Value as the table shows it.
        hover: Value in words, with its details, for the label under the pointer.
    """

    row: str
    value: float | None
    text: str
    hover: str


@dataclass(frozen=True, slots=True)
class Mark:
    """Mark on a heat map, in a row at a step, with the text of its hover label."""

    row: str
    step: int
    text: str


def spaced(count: int, most: int) -> list[int]:
    """Return at most `most` of the indices below `count`, evenly spaced, with the first and the last.

    Example:
        >>> spaced(11, 3), spaced(2, 3)
        ([0, 5, 10], [0, 1])
    """
    if count <= most:
        return list(range(count))
    return [round(k * (count - 1) / (most - 1)) for k in range(most)]
