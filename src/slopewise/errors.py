"""Errors that a user can fix: each message says what was wrong, where, and what to do, in one line.

A message may quote any name unchanged; `str()` makes the whole printable and limits its length.
"""

from __future__ import annotations

import bisect
import difflib
import re
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from itertools import accumulate
from typing import TypeVar

from slopewise.support import Registry, shortened

T = TypeVar("T")

_LONGEST = 2000  # characters of a message
_LONG_WORD, _LISTED = 60, 240  # characters of a quoted name, and of the list of known names
_COMPARED = 1000  # names that are searched for the nearest


class _Said:
    """Base of errors and warnings whose messages quote the user's names, which may hold any character."""

    def __str__(self) -> str:
        return shortened(super().__str__(), _LONGEST)


class SlopewiseError(_Said, Exception):
    """Base of the errors below; the command line prints its message and exits with status 2."""


class SlopewiseWarning(_Said, UserWarning):
    """Base of the warnings; the command line prints its message in one line."""


class ArgumentError(SlopewiseError, ValueError):
    """An argument of the caller cannot be used. As a ValueError, it is caught where other libraries' are."""


class SpecError(ArgumentError):
    """The study's spec is wrong: an unknown key, a value out of range, an unknown arm."""


class DataError(ArgumentError):
    """The images or labels cannot be used."""


class TableError(ArgumentError):
    """A table of results cannot be judged: a column is missing, a cell is no number, an arm has one run only."""


class ModelError(ArgumentError):
    """The model or an activation cannot be built, or does not meet the requirements of a study."""


class ConversionError(ArgumentError):
    """A model cannot be converted as requested: nothing to convert, modules used twice, a failing example input."""


class CheckpointError(ArgumentError):
    """The checkpoint cannot be read, or it is ambiguous which of its contents is meant."""


class ExportError(ArgumentError):
    """The model cannot be exported, or the file does not compute what the model computes."""


class FunctionError(ArgumentError):
    """Misuse of the study by a user's training function; the message goes on from the function's name."""


class CopyError(FunctionError):
    """Trials of different seeds are copies of each other, so that all trials are worthless."""


class StoreError(SlopewiseError):
    """The study folder or its database cannot be used."""


class EngineError(SlopewiseError):
    """No trial can be run, because workers do not start."""


class StoreWarning(SlopewiseWarning):
    """A fault of a study's file, damage or a lock, that does not stop the study."""


class DataWarning(SlopewiseWarning):
    """Some data were left out, or are perhaps not as intended; the rest can be used."""


class ConversionWarning(SlopewiseWarning):
    """Something about a conversion that its user should look at."""


class ExportWarning(SlopewiseWarning):
    """The file is right, but a runtime's default precision gives inaccurate results."""


class MonitorWarning(SlopewiseWarning):
    """Something that the monitor could not do; training goes on."""


class KernelsWarning(SlopewiseWarning):
    """The compiled kernels cannot be used: slopewise gives the same answers, more slowly."""


def nearest(word: str, known: Iterable[str]) -> str:
    """Return the hint for an unknown name in an error: the nearest known names, and a list of the (first) known ones.

    Example:
        >>> nearest("prelu_chanel", ["relu", "prelu_channel"])
        "did you mean 'prelu_channel'? (known: relu, prelu_channel)"
    """
    known = [shortened(name, _LONG_WORD) for name in known]
    close = " or ".join(f"'{name}'" for name in closest(word, known))
    listing = f"known: {listed(known)}"
    return f"did you mean {close}? ({listing})" if close else listing


def closest(word: str, known: Sequence[str]) -> list[str]:
    """Return the names that a word may stand for, at most two: whatever its case, as the start of names, or misspelt.

    A file or dotted path stands for `module:name` where such a form is known.

    Example:
        >>> closest("ReLU", ["relu", "elu"]), closest("prelu", ["relu", "prelu_shared", "prelu_channel"])
        (['relu'], ['prelu_shared', 'prelu_channel'])
        >>> closest("nets/mine.py:Net", ["cnn", "module:callable"])
        ['nets.mine:Net']
    """
    if any(name.startswith("module:") for name in known) and (reference := as_reference(word[:_LONG_WORD])):
        return [reference]
    # The comparison's time grows with the lengths of both words and with the number of known ones.
    folded = word[:_LONG_WORD].casefold()
    names = {name.casefold(): name for name in reversed(known[:_COMPARED])}
    if folded in names:
        return [names[folded]]
    if family := [name for name in known[:_COMPARED] if folded and name.casefold().startswith(f"{folded}_")]:
        return family[:2]
    return [names[name] for name in difflib.get_close_matches(folded, names, n=1, cutoff=0.5)]


def as_reference(text: str) -> str | None:
    """Return the `module:name` that a user may have meant by a file's path or by dots alone; None if it is neither.

    Example:
        >>> as_reference("mynet.py:Net"), as_reference("nets.py"), as_reference("torch.nn.ELU"), as_reference("a.npz")
        ('mynet:Net', 'nets:NAME', 'torch.nn:ELU', None)
    """
    if match := re.fullmatch(r"(?:\.[/\\])?([\w/\\]+)\.py(?::([\w.]+))?", text):
        module = ".".join(filter(None, re.split(r"[/\\]", match[1])))
        return f"{module}:{match[2] or 'NAME'}"
    match = re.fullmatch(r"([A-Za-z_][\w.]*)\.([A-Za-z_]\w*)", text)
    return f"{match[1]}:{match[2]}" if match and find_spec(match[1].partition(".")[0]) else None


def look_up(
    registry: Registry[T],
    name: str,
    error: type[SlopewiseError],
    *,
    place: str,
    unknown: str | None = None,
    alternative: str | None = None,
) -> T:
    """Return the extension of a name, or raise an error that tells a user how to name one.

    Args:
        registry: Registry of the extensions.
        name: Name that the user gave.
        error: Class of the error to raise.
        place: Kind and name of the extension, as in "engine 'local'", at the beginning of messages.
        unknown: Sentence about an unknown name, followed by the nearest known one; default "unknown", then `place`.
        alternative: Form of a name that needs no registration, such as "module:Class", listed after the known names.

    Raises:
        SlopewiseError: There is no extension of that name, or an installed package that brings it cannot be imported;
            the error is of the class `error`.

    Example:
        >>> shapes = Registry("example.shapes", {"circle": 0, "square": 4})
        >>> look_up(shapes, "square", SpecError, place="shape 'square'")
        4
        >>> look_up(shapes, "sqare", SpecError, place="shape 'sqare'")
        Traceback (most recent call last):
        ...
        slopewise.errors.SpecError: unknown shape 'sqare'; did you mean 'square'? (known: circle, square)
    """
    try:
        extension = registry.find(name)
    except ImportError as fault:
        raise error(f"{place}: {fault}") from fault
    if extension is None:
        known = [*registry.names(), *([alternative] if alternative else ())]
        raise error(f"{unknown or f'unknown {place}'}; {nearest(name, known)}")
    return extension


def listed(names: Sequence[str], longest: int = _LISTED) -> str:
    """Return names joined by commas; of a long list, the first names and the number of the others.

    Example:
        >>> listed(["a", "b"]), listed(["first", "second", "third"], longest=14)
        ('a, b', 'first, second and 1 more')
    """
    shown = [shortened(name, _LONG_WORD) for name in names[: longest // 3 + 1]]
    fit = max(1, bisect.bisect_right(list(accumulate(len(name) + 2 for name in shown)), longest + 2))
    more = f" and {len(names) - fit:,} more" if len(names) > fit else ""
    return f"{', '.join(shown[:fit])}{more}"
