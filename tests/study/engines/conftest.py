"""Fixtures about processes for the tests of engines."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest


@pytest.fixture
def alive() -> Callable[[int], bool]:
    """Return True if a process exists and has not ended."""

    def look(process: int) -> bool:
        try:
            return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
        except (FileNotFoundError, ProcessLookupError):
            return False

    return look


@pytest.fixture
def gone(alive: Callable[[int], bool]) -> Callable[..., None]:
    """Wait until processes have ended, and print how long that took; fail if it takes too long."""

    def wait(processes: Iterable[int], seconds: float = 10.0) -> None:
        left, started = list(processes), time.monotonic()
        assert left
        while left := [*filter(alive, left)]:
            assert time.monotonic() < started + seconds, f"{left} still run"
            time.sleep(0.005)
        print(f"gone after {time.monotonic() - started:.3f} s")  # noqa: T201 - shown by -rP

    return wait
