"""Errors that a user can mend: each message says what was wrong, where, and what to do, in one line.

A message quotes names as they are; `str()` shows it printable and of bounded length, wherever it is printed.
"""

from __future__ import annotations

import bisect
import difflib
from collections.abc import Iterable, Sequence
from itertools import accumulate, islice

from slopewise.support import shortened

_LONGEST = 2000  # characters of a message
_LONG_WORD, _LISTED = 60, 240  # characters of a name that is quoted, and of the listing of those that are known
_COMPARED = 1000  # names in which the nearest is looked for


class _Said:
    """Messages that quote names of users, which may hold any character."""

    def __str__(self) -> str:
        return shortened(super().__str__(), _LONGEST)


class SlopewiseError(_Said, Exception):
    """Base of the errors below; the command line prints its message and exits with status 2."""


class SlopewiseWarning(_Said, UserWarning):
    """Base of the warnings; the command line prints its message in one line."""


class SpecError(SlopewiseError):
    """The study's spec is wrong: an unknown key, a value out of range, an unknown arm."""


class DataError(SlopewiseError):
    """The images or labels cannot be used."""


class ModelError(SlopewiseError):
    """The model or an activation cannot be built, or does not do what a study needs of it."""


class ConversionError(SlopewiseError):
    """A model cannot be converted as asked: nothing to convert, modules used twice, an example that does not run."""


class CheckpointError(SlopewiseError):
    """The checkpoint cannot be read, or it is not clear what in it is meant."""


class StoreError(SlopewiseError):
    """The study folder or its database cannot be used."""


class EngineError(SlopewiseError):
    """Trials cannot be run at all: workers do not start."""


def nearest(word: str, known: Iterable[str]) -> str:
    """Words for an error about an unknown name: the nearest known one, and those that are known, of many the first.

    Example:
        >>> nearest("prelu_chanel", ["relu", "prelu_channel"])
        "did you mean 'prelu_channel'? (known: relu, prelu_channel)"
    """
    known = [shortened(name, _LONG_WORD) for name in known]
    # The comparison takes as long as both words are, times as many as there are.
    close = difflib.get_close_matches(word[:_LONG_WORD], islice(known, _COMPARED), n=1, cutoff=0.5)
    listing = f"known: {listed(known)}"
    return f"did you mean '{close[0]}'? ({listing})" if close else listing


def listed(names: Sequence[str], longest: int = _LISTED) -> str:
    """Return names with commas between them, and of many the first and how many more there are.

    Example:
        >>> listed(["a", "b"]), listed(["first", "second", "third"], longest=14)
        ('a, b', 'first, second and 1 more')
    """
    shown = [shortened(name, _LONG_WORD) for name in names[: longest // 3 + 1]]
    fit = max(1, bisect.bisect_right(list(accumulate(len(name) + 2 for name in shown)), longest + 2))
    more = f" and {len(names) - fit:,} more" if len(names) > fit else ""
    return f"{', '.join(shown[:fit])}{more}"
