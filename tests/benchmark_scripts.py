"""The scripts in benchmarks/, which lie in no package, within the process of a test.

Importing PyTorch takes most of the time of a small run. What a test needs a process of its own for, such as memory
that is kept to the end of the process, it starts itself.
"""

from __future__ import annotations

import importlib
import runpy
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@contextmanager
def importable() -> Iterator[None]:
    """Let scripts be imported, as they import each other; inside the block alone."""
    with patch.object(sys, "path", [str(BENCHMARKS), *sys.path]):
        try:
            yield
        finally:
            for name, module in [*sys.modules.items()]:
                if Path(getattr(module, "__file__", None) or "").parent == BENCHMARKS:
                    del sys.modules[name]


def run_script(name: str, *arguments: Any) -> int:
    """Run a script as Python does, and return the exit status; what a `SystemExit` says goes to stderr."""
    command = [str(BENCHMARKS / name), *map(str, arguments)]
    with importable(), patch.object(sys, "argv", command):
        try:
            runpy.run_path(command[0], run_name="__main__")
        except SystemExit as end:
            if isinstance(end.code, str):
                sys.stderr.write(f"{end.code}\n")
                return 1
            return end.code or 0
    return 0


def run_main(script: ModuleType, *arguments: Any) -> None:
    """Run the main function of an imported script, of which a test has replaced something."""
    with patch.object(sys, "argv", [str(script.__file__), *map(str, arguments)]):
        script.main()


@contextmanager
def imported(name: str) -> Iterator[ModuleType]:
    """Import a script as a module; inside the block alone."""
    with importable():
        yield importlib.import_module(name)
