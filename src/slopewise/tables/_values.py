"""Cells of a table as numbers, names and seeds, whatever type a library gives them."""

from __future__ import annotations

import math
import numbers
import re
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, cast

from slopewise.errors import TableError, listed
from slopewise.support import quoted

# Text that stands for a missing number, as pandas and R write and read it.
_ABSENT = frozenset(("", "na", "n/a", "#n/a", "nan", "-nan", "null", "none", "<na>", "nat"))
_NAMED = 5  # rows that an error names


def absent(value: Any) -> bool:
    """Return True for None, for NaN of any library, and for text that stands for them.

    Example:
        >>> [absent(value) for value in (None, float("nan"), "", " NA ", 0, "0", False)]
        [True, True, True, True, False, False, False]
    """
    if value is None:
        return True
    if isinstance(value, str):
        return value.strip().lower() in _ABSENT
    try:
        return bool(value != value)  # noqa: PLR0124 - NaN and NaT are the values that differ from themselves
    except TypeError:  # pandas' NA refuses to be compared
        return True


def to_numbers(values: Sequence[Any], column: str, places: Sequence[str]) -> list[float]:
    """Return the numbers of a column; NaN where there is none, and infinite ones as they are.

    Args:
        values: Integers, floats, decimals, fractions, or text that writes one.
        column: Name for messages.
        places: Place of each row, for messages.

    Raises:
        TableError: Some values are no numbers; it names their rows.

    Example:
        >>> to_numbers([1, "0.5", None, "inf"], "psnr", ["row 1", "row 2", "row 3", "row 4"])
        [1.0, 0.5, nan, inf]
    """
    result, wrong = [], []
    for value, place in zip(values, places, strict=True):
        number = math.nan if absent(value) else _number(value)
        result.append(math.nan if number is None else number)
        if number is None:
            wrong.append(f"{quoted(value, 30)} in {place}")
    if wrong:
        raise TableError(
            f"column {quoted(column)} must hold numbers, but has {rows(wrong)}; write numbers like 0.93, and leave "
            "cells without one empty"
        )
    return result


def _number(value: Any) -> float | None:
    if isinstance(value, str):
        text = value.strip()
        if "_" in text:  # Python reads 1_000, which tables do not write
            return None
    elif isinstance(value, bool) or type(value).__name__ == "bool":  # numpy's bool is a number, too, for Python
        return None
    elif isinstance(value, (numbers.Real, Decimal)):
        text = value  # type: ignore[assignment]  # float() takes either
    else:
        return None
    try:
        return float(text)
    except (ValueError, OverflowError):
        return None


def to_names(values: Sequence[Any], column: str, places: Sequence[str]) -> list[str]:
    """Return the cells of a column as names: text without spaces at its ends, whole numbers without decimals.

    Raises:
        TableError: A cell is empty; it names the rows.

    Example:
        >>> to_names(["relu ", 2.0, True], "arm", ["row 1", "row 2", "row 3"])
        ['relu', '2', 'True']
    """
    if empty := [
        place for value, place in zip(values, places, strict=True) if absent(value) or str(value).strip() == ""
    ]:
        raise TableError(f"column {quoted(column)} is empty in {rows(empty)}: name every row, or leave it out")
    return [_name(value) for value in values]


def _name(value: Any) -> str:
    whole = _whole(value)
    return str(value).strip() if whole is None or isinstance(value, str) else str(whole)


def to_seeds(values: Sequence[Any], column: str, places: Sequence[str]) -> tuple[list[int], tuple[str, ...]]:
    """Return the seeds of a column as whole numbers, and the names of seeds that are text.

    Text is numbered in the order of its first appearance; the names are empty where all seeds are whole numbers.

    Example:
        >>> to_seeds(["0", "2", 2.0], "seed", ["row 1", "row 2", "row 3"])
        ([0, 2, 2], ())
        >>> to_seeds(["fold-b", "fold-a", "fold-b"], "fold", ["row 1", "row 2", "row 3"])
        ([0, 1, 0], ('fold-b', 'fold-a'))
    """
    names = to_names(values, column, places)
    whole = [_whole(value) for value in values]
    if all(number is not None for number in whole):
        return [number for number in whole if number is not None], ()
    order = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return [order[name] for name in names], tuple(order)


def _whole(value: Any) -> int | None:
    """Return a whole number, or None for anything else; "01" is a name, since "1" may stand beside it."""
    if isinstance(value, bool) or type(value).__name__ == "bool":
        return None
    if isinstance(value, str):
        fits = re.fullmatch(r"(-?(?:0|[1-9][0-9]*))(?:\.0)?", value.strip())
        return int(fits[1]) if fits else None
    whole = isinstance(value, (numbers.Real, Decimal)) and math.isfinite(value) and value % 1 == 0
    return int(cast("Any", value)) if whole else None


def rows(places: Iterable[str]) -> str:
    """Return the places of rows as messages list them: the first few, and the number of the others."""
    every = list(places)
    more = f" and {len(every) - _NAMED} more" if len(every) > _NAMED else ""
    return listed(every[:_NAMED]) + more
