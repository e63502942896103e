"""Scores in files of schemas 1 and 2, which had one column for each score of image classification."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from typing import Any

from slopewise.records import ScoreRecord

_METRICS = ("loss", "accuracy")
_FINAL = tuple(product(("train", "validation", "test"), _METRICS))
_EPOCH = tuple(product(("train", "validation"), _METRICS))


def has_columns(facts: Mapping[str, Any]) -> bool:
    """Return True if a trial's facts come from a file with a column for each score."""
    return "test_accuracy" in facts


def scores(facts: Mapping[str, Any], epochs: Iterable[Mapping[str, Any]]) -> tuple[ScoreRecord, ...]:
    """Return the scores of a trial as rows.

    Args:
        facts: Columns of the trial, with `test_accuracy` and others.
        epochs: Columns of each of its epochs, with `epoch`, `validation_loss` and others.
    """
    return (*_of_epochs(epochs), *_rows(None, facts, _FINAL))


def packed_scores(facts: Mapping[str, Any], text: bytes | None) -> tuple[ScoreRecord, ...]:
    """Return the scores of a trial whose epochs are a text with a list for each column."""
    columns = json.loads(text) if text else {}
    names, values = columns.keys(), columns.values()
    return scores(facts, (dict(zip(names, row, strict=True)) for row in zip(*values, strict=True)))


def _of_epochs(epochs: Iterable[Mapping[str, Any]]) -> Iterator[ScoreRecord]:
    for epoch in epochs:
        yield from _rows(epoch["epoch"], epoch, _EPOCH)


def _rows(epoch: int | None, columns: Mapping[str, Any], names: Iterable[tuple[Any, str]]) -> Iterator[ScoreRecord]:
    for part, metric in names:
        value = columns.get(f"{part}_{metric}")
        if value is not None:
            yield ScoreRecord(epoch, part, metric, value)
