"""Patience: attempts that are repeated while a store cannot be used for a while, with one warning."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable
from typing import TypeVar

from slopewise.errors import StoreError, StoreWarning
from slopewise.study._stopping import stop_requested

_T = TypeVar("_T")
_LAST = 5.0  # seconds that a study waits on after it was asked to stop, out of the 30 that Kubernetes gives
_QUIET, _PAUSE = 5.0, 0.25  # seconds that a driver waits before it says so, and between two attempts


def repeated(attempt: Callable[[], _T], passes: Callable[[StoreError], bool], notice: str) -> _T:
    """Return the result of a call, repeated while its errors are of the kind that pass; warn once if that takes long.

    If the study is asked to stop (`stop_requested`), the store has some seconds left.

    Args:
        attempt: Function that raises a `StoreError` if the store cannot be used.
        passes: Function that returns True if an error will pass, so that the call is repeated.
        notice: Text of the warning.

    Warns:
        StoreWarning: The store could not be used for some seconds.
    """
    since, warned, last = time.monotonic(), False, math.inf
    while True:
        try:
            return attempt()
        except StoreError as error:
            if stop_requested():
                last = min(last, time.monotonic() + _LAST)
            if not passes(error) or time.monotonic() >= last:
                raise
        if not warned and time.monotonic() - since >= _QUIET:
            warned = True
            warnings.warn(notice, StoreWarning, stacklevel=3)
        time.sleep(_PAUSE)
