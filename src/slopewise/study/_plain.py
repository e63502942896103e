"""Plain data: what a checkpoint may hold, so that it can be read again without running code from the file."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from slopewise.errors import FunctionError

_VALUES = (bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.device, torch.Size)
_TENSORS = (Tensor, nn.Parameter)
_MAPPINGS = (dict, OrderedDict, Counter)
_SEQUENCES = (list, tuple, set)


def check_plain(state: Any) -> None:
    """Refuse a state that `torch.load(weights_only=True)` could not read, before hours of training depend on it.

    Types are compared exactly: a `numpy.float64` is a `float`, and still makes the whole file unreadable.

    Raises:
        FunctionError: The state holds something else than tensors, numbers, text, None, dicts, lists and tuples; the
            message names its key.

    Example:
        >>> check_plain({"epoch": 3, "weights": [torch.zeros(2)]})
        >>> import numpy
        >>> check_plain({"best": [1.0, numpy.float64(2)]})
        Traceback (most recent call last):
        slopewise.errors.FunctionError: saved a numpy.float64 as ['best'][1] of a checkpoint, which could not be read \
again: save its float(...), or int(...)
    """
    for place, value in _foreign(state, ""):
        kind = type(value)
        raise FunctionError(
            f"saved a {kind.__module__}.{kind.__qualname__} as {place or 'the state'} of a checkpoint, which could not "
            f"be read again: {_advice(value)}"
        )


def _foreign(value: Any, place: str) -> Iterator[tuple[str, Any]]:
    """Yield what is not plain, each with its place."""
    kind = type(value)
    if kind in _VALUES or kind in _TENSORS:
        return
    if kind in _MAPPINGS:
        for key, item in value.items():
            yield from _foreign(key, f"{place}: the key {key!r:.60}")
            yield from _foreign(item, f"{place}[{key!r:.60}]")
    elif kind in _SEQUENCES:
        for number, item in enumerate(value):
            yield from _foreign(item, f"{place}[{number}]")
    else:
        yield place, value


def _advice(value: Any) -> str:
    if hasattr(value, "full_tensor"):
        return "save its full_tensor(), from all processes together"
    if type(value).__module__ == "numpy":
        is_array = getattr(value, "ndim", 0) > 0
        return "save torch.from_numpy(...)" if is_array else "save its float(...), or int(...)"
    if callable(getattr(value, "state_dict", None)):
        return "save its state_dict()"
    return "save what it holds as tensors, numbers, text, dicts and lists"
