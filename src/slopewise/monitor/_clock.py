"""Clock of the monitor's own cost."""

from __future__ import annotations

import time
from types import TracebackType


class Clock:
    """Context manager that adds up the time spent within it; blocks may be nested.

    Example:
        >>> clock = Clock()
        >>> with clock, clock:
        ...     _ = sum(range(10))
        >>> clock.seconds > 0
        True
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self._depth = 0
        self._since = 0.0

    def __enter__(self) -> None:
        if self._depth == 0:
            self._since = time.perf_counter()
        self._depth += 1

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._depth -= 1
        if self._depth == 0:
            self.seconds += time.perf_counter() - self._since
