"""Fixtures that several rooms use."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Cli = Callable[..., subprocess.CompletedProcess[str]]

# Smallest study that still trains: digits, one layer of width 4, one epoch.
TINY = ("--train-size", "100", "--epochs", "1", "--set", "model.options.width=4")


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """Run the real command in a folder of its own."""

    def run(*arguments: str | Path, cwd: Path = tmp_path, **options: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-W", "error", "-m", "slopewise", *map(str, arguments)]
        environment = {**os.environ, "COLUMNS": "120", "NO_COLOR": "1"}
        return subprocess.run(
            command, cwd=cwd, env=environment, text=True, capture_output=True, check=False, timeout=240, **options
        )

    return run


@pytest.fixture
def user_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], str]:
    """Write a user's own module where this process and its workers can import it; returns its name."""

    def write(name: str, code: str) -> str:
        (tmp_path / f"{name}.py").write_text(code, encoding="utf-8")
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.delitem(sys.modules, name, raising=False)
        return name

    return write
