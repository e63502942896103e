"""Contents of a heat map as plain data, without colours."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cell:
    """Cell of a heat map, within its column; by default one layer at one step.

    Attributes:
        row: Name of the row: the layer or call site.
        value: Value that is drawn. None leaves a gap; NaN and infinities have a colour of their own.
        text: Value as the table shows it.
        hover: Value in words, with its details, for the label under the pointer.
        label: Text in the cell; empty in maps with too many cells for text.
    """

    row: str
    value: float | None
    text: str
    hover: str
    label: str = ""


@dataclass(frozen=True, slots=True)
class Grid:
    """Meaning of a heat map's rows and columns.

    Attributes:
        rows, columns: Nouns that name a row and a column.
        names: Names of the columns, in order; empty if columns are positioned by number, such as steps.
    """

    rows: str = "layer"
    columns: str = "step"
    names: tuple[str, ...] = ()


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
