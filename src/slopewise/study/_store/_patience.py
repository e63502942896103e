"""Patience: attempts that are repeated while a store cannot be used for a while, with one warning."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from typing import TypeVar

from slopewise.errors import StoreError, StoreWarning

_T = TypeVar("_T")
_QUIET, _PAUSE = 5.0, 0.25  # seconds that a driver waits before it says so, and between two attempts


def repeated(attempt: Callable[[], _T], passes: Callable[[StoreError], bool], notice: str) -> _T:
    """Return the result of a call, repeated while its errors are of the kind that pass; warn once if that takes long.

    Args:
        attempt: Function that raises a `StoreError` if the store cannot be used.
        passes: Function that returns True if an error will pass, so that the call is repeated.
        notice: Text of the warning.

    Warns:
        StoreWarning: The store could not be used for some seconds.
    """
    since, warned = time.monotonic(), False
    while True:
        try:
            return attempt()
        except StoreError as error:
            if not passes(error):
                raise
        if not warned and time.monotonic() - since >= _QUIET:
            warned = True
            warnings.warn(notice, StoreWarning, stacklevel=3)
        time.sleep(_PAUSE)
