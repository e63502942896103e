"""Public names that were renamed: the old one works for one more version and warns once."""

from __future__ import annotations

import warnings

_warned: set[str] = set()


def deprecated(old: str, new: str) -> None:
    """Warn, once per process for each old name, that it gives way to a new one.

    Call it first in the function or property with the old name: the warning points at the line that uses it.

    Args:
        old: Name that goes with the next version, such as "Monitor.records".
        new: Name to use instead.

    Example:
        >>> import warnings
        >>> with warnings.catch_warnings(record=True, action="always") as caught:
        ...     deprecated("Layer.gone", "Layer.here")
        ...     deprecated("Layer.gone", "Layer.here")
        >>> [str(warning.message) for warning in caught]
        ['Layer.gone is deprecated and will be removed in the next version: use Layer.here']
    """
    if old in _warned:
        return
    _warned.add(old)
    message = f"{old} is deprecated and will be removed in the next version: use {new}"
    warnings.warn(message, DeprecationWarning, stacklevel=3)
