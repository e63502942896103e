"""Samples and alarms as plain data, for files, and back."""

from __future__ import annotations

import math
from dataclasses import asdict, fields, is_dataclass
from functools import cache
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from slopewise.support import quoted


def to_plain(item: Any) -> dict[str, Any]:
    """Return a dataclass as dicts, lists, numbers and text; NaN and infinities stay.

    Example:
        >>> from slopewise.recording import LayerSample
        >>> plain = to_plain(LayerSample("conv1", 0.5, 2.0, None, ("gradient",)))
        >>> plain
        {'layer': 'conv1', 'gradient': 0.5, 'weight': 2.0, 'update': None, 'not_finite': ['gradient']}
        >>> from_plain(LayerSample, plain).not_finite
        ('gradient',)
    """
    return {key: _with_lists(value) for key, value in asdict(item).items()}


def _with_lists(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_lists(item) for key, item in value.items()}
    return [_with_lists(item) for item in value] if isinstance(value, (list, tuple)) else value


@cache
def _hints(kind: type) -> dict[str, Any]:
    """Return the types of a dataclass's fields; resolving them for every line would take most of the reading time."""
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind)}


def from_plain(kind: Any, value: Any) -> Any:
    """Return plain data as a value of an annotated type: a dataclass, a tuple of one type, or a union with None.

    Raises:
        ValueError: The data are of another type.
        TypeError: Fields are missing.
    """
    if get_origin(kind) in (UnionType,) or isinstance(kind, UnionType):
        return None if value is None else from_plain(next(a for a in get_args(kind) if a is not type(None)), value)
    if is_dataclass(kind) and isinstance(value, dict):
        hints = _hints(kind)  # type: ignore[arg-type]
        return kind(**{name: from_plain(hints[name], item) for name, item in value.items() if name in hints})  # type: ignore[operator]
    if get_origin(kind) is tuple and isinstance(value, list):
        return tuple(from_plain(get_args(kind)[0], item) for item in value)
    if kind is float:
        return math.nan if value is None else float(value)
    if value in get_args(kind) if get_origin(kind) is Literal else kind in (int, str, bool) and isinstance(value, kind):
        return value
    raise ValueError(f"{quoted(value)} is nothing that it writes there")
