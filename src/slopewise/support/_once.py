"""Warnings that are given once per process."""

from __future__ import annotations

import warnings

_given: set[str] = set()


def warn_once(topic: str, message: str, category: type[Warning], *, stacklevel: int = 2) -> None:
    """Warn, unless this process has warned of the topic before.

    Args:
        topic: Key of the warning; messages of one topic may differ.
        message: Message of the warning.
        category: Class of the warning.
        stacklevel: Number of frames up to the line to point at, as in `warnings.warn`: 1 is the line of this call, 2
            the caller of the function that calls.

    Example:
        >>> with warnings.catch_warnings(record=True, action="always") as caught:
        ...     warn_once("example.slow", "layer 1 is slow", UserWarning)
        ...     warn_once("example.slow", "layer 2 is slow", UserWarning)
        >>> [str(warning.message) for warning in caught]
        ['layer 1 is slow']
    """
    if topic not in _given:
        _given.add(topic)
        warnings.warn(message, category, stacklevel=stacklevel + 1)


def need_not_warn(topic: str) -> None:
    """Let `warn_once` be silent about a topic: its reader knows already.

    Example:
        >>> need_not_warn("example.fast")
        >>> warn_once("example.fast", "layer 1 is fast", UserWarning)
    """
    _given.add(topic)
