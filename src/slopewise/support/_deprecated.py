"""Public names and orders of arguments that were replaced: the old ones work for one more version and warn once."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ParamSpec, TypeVar

from slopewise.support._once import warn_once

P = ParamSpec("P")
R = TypeVar("R")


def deprecated(old: str, new: str, *, stacklevel: int = 3) -> None:
    """Warn, once per process for each old name, that it gives way to a new one.

    Call it first in the function or property with the old name: the warning points at the line that uses it.

    Args:
        old: Name that goes with the next version, such as "Monitor.records".
        new: Name to use instead.
        stacklevel: Number of frames up to the line to point at; 3 is the caller of the function with the old name.

    Example:
        >>> import warnings
        >>> with warnings.catch_warnings(record=True, action="always") as caught:
        ...     deprecated("Layer.gone", "Layer.here")
        ...     deprecated("Layer.gone", "Layer.here")
        >>> [str(warning.message) for warning in caught]
        ['Layer.gone is deprecated and will be removed in the next version: use Layer.here']
    """
    message = f"{old} is deprecated and will be removed in the next version: use {new}"
    warn_once(old, message, DeprecationWarning, stacklevel=stacklevel)


def old_order(
    names: Sequence[str], old: str, new: str, is_old: Callable[[tuple[Any, ...], Mapping[str, Any]], bool]
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator of a function that still takes its positional arguments in their old order.

    Args:
        names: Names of the positional arguments in the old order.
        old: Old form of the call, for the warning.
        new: New form of the call, for the warning.
        is_old: Function (positional arguments, keyword arguments) -> True if a call is of the old form.

    Example:
        >>> @old_order(["x", "slope", "eps"], "scale(x, slope)", "slope=", lambda args, named: "slope" not in named)
        ... def scale(x, eps=0.0, *, slope):
        ...     return x * slope + eps
        >>> scale(2, 1, slope=3)
        7
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def call(*args: P.args, **named: P.kwargs) -> R:
            if is_old(args, named) and len(args) <= len(names):
                deprecated(old, new)
                return function(**dict(zip(names, args, strict=False)), **named)  # type: ignore[arg-type, call-arg]
            return function(*args, **named)

        return call

    return decorate
