"""Rows of trials in the store: compact JSON texts, and a digest of all of them.

A part of a trial (its epochs, its sites, ...) is one text, `{"epoch": [0, 1, ...], "step": [0, 20, ...], ...}`, with
columns by name, so that older texts simply lack fields that were added later. Python's JSON keeps every bit of a float.
A trial that was read decodes a part on first access, so that a study of a thousand trials loads quickly and parts that
are never used are never decoded.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import partial
from typing import Any, TypeAlias

from slopewise.errors import StoreError
from slopewise.records import TRIAL_PARTS, TRIAL_SLOTS, Part, TrialRecord
from slopewise.study._store._columns import has_columns, packed_scores
from slopewise.study._store._encoded import MALFORMED, Encoded, Places

Columns: TypeAlias = dict[str, Any]
KEYS = ("arm", "seed", "status")
COLUMNS = (*KEYS, "sha256", "facts", *TRIAL_PARTS)  # in the order of the table; new columns are added at the end
_FACTS = tuple(f.name for f in fields(TrialRecord) if f.name not in (*KEYS, *TRIAL_PARTS))


def encode(value: Any) -> str:
    r"""Return compact JSON of plain data, in ASCII.

    JSON has no infinity and no NaN: 9e999 reads as infinity everywhere, and NaN becomes null, as it does in SQLite.
    A lone surrogate, which represents a byte of a file's name, is invalid text for other tools: it becomes an escape.

    Raises:
        TypeError: The value contains an object that is not plain data.

    Example:
        >>> encode({"loss": [0.1, float("inf"), float("nan")], "file": "\udcff.png"})
        '{"loss":[0.1,9e999,null],"file":"\\\\udcff.png"}'
    """
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{encode(str(key))}:{encode(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, str):
        return json.dumps(value.encode(errors="backslashreplace").decode())
    try:
        text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    except ValueError:
        if isinstance(value, (list, tuple)):
            return f"[{','.join(map(encode, value))}]"
        return "null" if value != value else json.dumps(value).replace("Infinity", "9e999")  # noqa: PLR0124
    whole = "\\ud" not in text or not isinstance(value, (list, tuple))
    return text if whole else f"[{','.join(map(encode, value))}]"


def seal(*texts: str | bytes | None) -> str:
    """Return the SHA-256 of a row's texts; None, the value of an older row in a later column, adds nothing.

    Example:
        >>> seal("relu", "0") == seal(b"relu", b"0", None), seal("relu", "0") == seal("relu0", "")
        (True, False)
    """
    digest = hashlib.sha256()
    for place, text in enumerate(texts):
        if text is not None:
            data = text.encode() if isinstance(text, str) else text
            digest.update(b"%d:%d:" % (place, len(data)))
            digest.update(data)
    return digest.hexdigest()


def pack(trial: TrialRecord) -> Columns:
    """Return the columns of a trial's row."""
    facts = encode({name: getattr(trial, name) for name in _FACTS})
    parts = {name: _pack_part(record, getattr(trial, name)) for name, record in TRIAL_PARTS.items()}
    sha256 = seal(trial.arm, str(trial.seed), trial.status, facts, *parts.values())
    keys = {name: getattr(trial, name) for name in KEYS}
    return {**keys, "cell": trial.cell, "sha256": sha256, "facts": facts, **parts}


def _pack_part(record: type, rows: Sequence[Any]) -> str | None:
    return encode({f.name: [getattr(row, f.name) for row in rows] for f in fields(record)}) if rows else None


def unpack(row: Sequence[Any]) -> TrialRecord | None:
    """Return the trial of a row in the order of `COLUMNS`, text as bytes; None if the digest does not match."""
    arm, seed, status, digest, *texts = row
    if not (isinstance(arm, bytes) and isinstance(seed, int) and isinstance(status, bytes)):
        return None
    if not all(text is None or isinstance(text, bytes) for text in texts):
        return None
    if seal(arm, str(seed), status, *texts).encode() != digest:
        return None
    stored = json.loads(texts[0])
    facts = {name: value for name, value in stored.items() if name in _FACTS}
    parts: dict[str, Any] = {
        name: Encoded(record, text) if text else ()
        for (name, record), text in zip(TRIAL_PARTS.items(), texts[1:], strict=False)
    }
    if has_columns(stored):
        parts["scores"] = partial(packed_scores, stored, texts[1])  # of the epochs, the first part
    return _StoredTrial(arm.decode(), seed, status.decode(), **facts, **parts)  # type: ignore[arg-type]


class _StoredTrial(TrialRecord):
    """A `TrialRecord` whose parts stay encoded until their first access; columns and scores leave them encoded."""

    __slots__ = ()

    def columns(self, part: str, *names: str, last: int | None = None) -> tuple[Sequence[Any], ...]:
        encoded = TRIAL_SLOTS[part].__get__(self)
        if not isinstance(encoded, Encoded):
            return super().columns(part, *names, last=last)
        try:
            return encoded.columns(names, last)
        except MALFORMED as error:
            raise self._malformed(part, error) from error

    def score(self, part: Part, metric: str, epoch: int | None = None) -> float | None:
        if (scores := self._scores()) is None:
            return super().score(part, metric, epoch)
        places, values = scores
        place = places.get((part, metric), {}).get(epoch)
        return None if place is None else values[place]

    def curve(self, part: Part, metric: str) -> dict[int, float | None]:
        if (scores := self._scores()) is None:
            return super().curve(part, metric)
        places, values = scores
        epochs = places.get((part, metric), {}).items()
        return {epoch: values[place] for epoch, place in epochs if epoch is not None}

    def final_scores(self) -> dict[tuple[Part, str], float | None]:
        if (scores := self._scores()) is None:
            return super().final_scores()
        places, values = scores
        return {key: values[place[None]] for key, place in places.items() if None in place}

    def _scores(self) -> tuple[Places, Sequence[Any]] | None:
        """Return the scores if they are still encoded."""
        encoded = TRIAL_SLOTS["scores"].__get__(self)
        if not isinstance(encoded, Encoded):
            return None
        try:
            return encoded.scores()
        except MALFORMED as error:
            raise self._malformed("scores", error) from error

    def _malformed(self, part: str, error: Exception) -> StoreError:
        return StoreError(f"the {part} of {self.arm} seed {self.seed} are not what this version writes: {error}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TrialRecord) and _values(self) == _values(other)

    __hash__ = TrialRecord.__hash__

    def __reduce__(self) -> tuple[type[TrialRecord], tuple[Any, ...]]:
        return TrialRecord, _values(self)


class _Part:
    """A field of a `_StoredTrial` over the slot of its base class."""

    def __init__(self, name: str) -> None:
        self._name, self._slot = name, TRIAL_SLOTS[name]

    def __get__(self, trial: _StoredTrial | None, _: type) -> Any:
        if trial is None:
            return self
        value = self._slot.__get__(trial)
        if isinstance(value, (Encoded, partial)):
            try:
                value = value.rows() if isinstance(value, Encoded) else value()
            except MALFORMED as error:
                raise trial._malformed(self._name, error) from error
            self._slot.__set__(trial, value)
        return value

    def __set__(self, trial: TrialRecord, value: Any) -> None:
        self._slot.__set__(trial, value)


def _values(trial: TrialRecord) -> tuple[Any, ...]:
    return tuple(getattr(trial, f.name) for f in fields(TrialRecord))


for _name in TRIAL_PARTS:
    setattr(_StoredTrial, _name, _Part(_name))
_StoredTrial.__qualname__ = TrialRecord.__qualname__  # so that its repr is that of a `TrialRecord`
