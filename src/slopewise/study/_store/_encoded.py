"""Parts of a stored trial that stay JSON text until they are needed, as rows of records or as single columns.

Whoever analyses ten thousand trials needs a few columns of each: decoding these alone, without a record for every row,
takes a tenth of the time and of the memory. Columns of names and counts, which most trials of a study have in common,
are decoded once.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import MISSING, Field, fields
from functools import cache, lru_cache
from typing import Any

from slopewise.records import Part

MALFORMED = (ValueError, TypeError, KeyError, AttributeError, RecursionError)  # of a text that is not such a part
Places = Mapping[tuple[Part, str], Mapping[int | None, int]]  # row of each epoch, by part and metric


class Encoded:
    """Rows of one kind as a JSON text with a list for each field, in the order of the record's fields.

    Args:
        record: Class of the rows.
        text: JSON text. Fields that were added to the record later may be absent, and then have their defaults.
    """

    __slots__ = ("_scores", "_text", "record")

    def __init__(self, record: type, text: bytes) -> None:
        self.record, self._text = record, text
        self._scores: tuple[Places, Sequence[Any]] | None = None  # kept, since they are read again and again

    def rows(self) -> tuple[Any, ...]:
        """Return the records."""
        columns = json.loads(self._text)
        if not columns or not isinstance(columns, dict):
            raise ValueError("no columns")
        count = len(next(iter(columns.values())))
        known = [columns[f.name] if f.name in columns else [_default(f)] * count for f in fields(self.record)]
        return tuple(self.record(*values) for values in zip(*known, strict=True))

    def columns(self, names: Sequence[str], last: int | None = None) -> tuple[Sequence[Any], ...]:
        """Return fields of all rows, or of so many last ones, a sequence for each name."""
        try:
            columns = tuple([self._column(name, last) for name in names])
        except ValueError:  # a text that another version has written
            columns = ()
        if columns and len({*map(len, columns)}) == 1:
            return columns
        rows = self.rows()
        rows = rows if last is None else rows[len(rows) - last :]
        return tuple([getattr(row, name) for row in rows] for name in names)

    def scores(self) -> tuple[Places, Sequence[Any]]:
        """Return the values of the scores in the order of the rows, and which of them is which; rows are scores."""
        if self._scores is None:
            epochs, parts, metrics, values = self.columns(("epoch", "part", "metric", "value"))
            with suppress(TypeError, OverflowError):  # None, for example
                values = array("d", values)
            self._scores = _places(*map(tuple, (epochs, parts, metrics))), values
        return self._scores

    def _column(self, name: str, last: int | None) -> Sequence[Any]:
        segment = self._segment(name)
        if name in _common(self.record):
            values = _decoded(segment)
            return values if last is None else values[len(values) - last :]
        if last is not None:
            numbers = segment[1:-1].rsplit(b",", last)  # numbers have no commas
            segment = b"[" + b",".join(numbers[len(numbers) - last :]) + b"]"
        return list(json.loads(segment))

    def _segment(self, name: str) -> bytes:
        """Return the text of one column.

        Keys are found as bytes: inside a JSON string, quotes are escaped, so that no value can look like a key.

        Raises:
            ValueError: The text does not have the column where this version writes it.
        """
        before, after = _keys(self.record)[name]
        start = self._text.find(before)
        end = self._text.find(after, start) if after else len(self._text) - 1
        if start < 0 or end < 0:
            raise ValueError(name)
        return self._text[start + len(before) - 1 : end]


@cache
def _keys(record: type) -> dict[str, tuple[bytes, bytes]]:
    """Return the bytes from which on a column begins, and those at which it ends; empty for the last column."""
    names = [f.name for f in fields(record)]
    starts = [f'{"," if place else "{"}"{name}":['.encode() for place, name in enumerate(names)]
    return dict(zip(names, zip(starts, [*starts[1:], b""], strict=True), strict=True))


@cache
def _common(record: type) -> frozenset[str]:
    """Return the columns that most trials of a study share: names and counts, never measured numbers."""
    return frozenset(f.name for f in fields(record) if "float" not in str(f.type))


@lru_cache(maxsize=256)
def _decoded(segment: bytes) -> tuple[Any, ...]:
    return tuple(json.loads(segment))


@lru_cache(maxsize=64)
def _places(epochs: tuple[int | None, ...], parts: tuple[Part, ...], metrics: tuple[str, ...]) -> Places:
    places: dict[tuple[Part, str], dict[int | None, int]] = {}
    for place, (epoch, part, metric) in enumerate(zip(epochs, parts, metrics, strict=True)):
        places.setdefault((part, metric), {}).setdefault(epoch, place)
    return places


def _default(field: Field[Any]) -> Any:
    if field.default is MISSING:
        raise KeyError(field.name)
    return field.default
