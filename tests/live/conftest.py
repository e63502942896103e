"""Recordings that grow, and the command as a process."""

import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from slopewise.monitor._recording import to_line
from slopewise.testing import synthetic_recording


class Growing:
    """Writes a synthetic recording into a file, item by item."""

    def __init__(self, path: Path, **options) -> None:
        recording = synthetic_recording(**options)
        header = dataclasses.replace(recording.header, started=time.time(), name=path.stem)
        items = [header, *sorted((*recording.samples, *recording.alarms), key=lambda item: item.step)]
        self.path = path
        self.left = [to_line(item) for item in (*items, *([recording.end] if recording.end else []))]

    def write(self, lines: int = -1) -> None:
        """The next lines; all that are left by default."""
        take = len(self.left) if lines < 0 else lines
        with self.path.open("a") as file:
            file.writelines(f"{line}\n" for line in self.left[:take])
        del self.left[:take]


class Process:
    """`slopewise watch`, with the address that it has printed."""

    def __init__(self, folder: Path, *options: str) -> None:
        command = [sys.executable, "-W", "error", "-m", "slopewise", "watch", str(folder), *options]
        self.process = subprocess.Popen(
            command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "NO_COLOR": "1"}
        )
        assert self.process.stdout
        self.url = self.process.stdout.readline().strip()

    @property
    def port(self) -> int:
        return int(self.url.rstrip("/").rpartition(":")[2])

    def stop(self, how: signal.Signals = signal.SIGINT) -> tuple[int, str]:
        """Its exit status and what it said on stderr."""
        self.process.send_signal(how)
        _, words = self.process.communicate(timeout=60)
        return self.process.returncode, words


@pytest.fixture
def growing() -> type[Growing]:
    """A recording in the making."""
    return Growing


@pytest.fixture
def watching() -> Iterator[Callable[..., Process]]:
    """Start the command; nothing of it outlives the test."""
    started: list[Process] = []

    def start(folder: Path, *options: str) -> Process:
        started.append(Process(folder, *options))
        return started[-1]

    yield start
    for each in started:
        if each.process.poll() is None:
            each.stop(signal.SIGKILL)
