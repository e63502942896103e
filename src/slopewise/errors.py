"""The errors that a user can mend: each message says what was wrong, where, and what to do, in one line."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable
from types import ModuleType


class SlopewiseError(Exception):
    """Base of the errors below; the command line prints its message and exits with status 2."""


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
    """Words for an error about an unknown name: the nearest known one, and all that are known.

    Example:
        >>> nearest("prelu_chanel", ["relu", "prelu_channel"])
        "did you mean 'prelu_channel'? (known: relu, prelu_channel)"
    """
    known = list(known)
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    listing = f"known: {', '.join(known)}"
    return f"did you mean '{close[0]}'? ({listing})" if close else listing


def need(module: str, *, what: str, extra: str) -> ModuleType:
    """A module that an extra of slopewise brings, or an error that says which extra.

    Example:
        >>> need("elsewhere", what="sinks.Elsewhere", extra="trackers")
        Traceback (most recent call last):
        ModuleNotFoundError: sinks.Elsewhere needs 'elsewhere': pip install 'slopewise[trackers]'
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("slopewise"):
            raise
        message = f"{what} needs '{error.name}': pip install 'slopewise[{extra}]'"
        raise ModuleNotFoundError(message, name=error.name) from error
