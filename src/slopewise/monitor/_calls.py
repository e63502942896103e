"""Calls of modules that are going on: PyTorch calls no hook when Ctrl-C breaks one off."""

from __future__ import annotations

import sys
from types import FrameType

from torch import nn

_CALL = nn.Module._call_impl.__code__  # private, but the one function that runs for as long as a call of a module does


def call_of(module: nn.Module) -> FrameType | None:
    """Return the call of a module that is going on; None if there is none, as where a loop calls parts of a model."""
    frame = sys._getframe().f_back
    while frame is not None and not (frame.f_code is _CALL and frame.f_locals.get("self") is module):
        frame = frame.f_back
    return frame


def goes_on(call: FrameType) -> bool:
    """Return True if a call has not ended yet."""
    frame = sys._getframe().f_back
    while frame is not None and frame is not call:
        frame = frame.f_back
    return frame is not None
