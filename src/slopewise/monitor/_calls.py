"""Calls of modules that are going on: PyTorch calls no hook when Ctrl-C breaks one off."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import FrameType

from torch import nn

_CALL = nn.Module._call_impl.__code__  # private, but the one function that runs for as long as a call of a module does


def call_of(module: nn.Module) -> FrameType | None:
    """Return the call of a module that is going on; None if there is none, as where a loop calls parts of a model."""
    calls = (frame for frame in _callers(sys._getframe()) if frame.f_code is _CALL)
    return next((call for call in calls if call.f_locals.get("self") is module), None)


def goes_on(call: FrameType) -> bool:
    """Return True if a call has not ended yet, in any thread."""
    return any(call is frame for latest in sys._current_frames().values() for frame in _callers(latest))


def _callers(latest: FrameType | None) -> Iterator[FrameType]:
    while latest is not None:
        yield latest
        latest = latest.f_back
