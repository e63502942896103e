"""Output of a training function, in a file of the trial's own."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path


@contextmanager
def output_to(path: Path) -> Iterator[None]:
    """Append all that this process writes to its standard output and error to a file, inside the block.

    That includes what C code and child processes write, which go by the numbers of the streams and not by `sys.stdout`.

    Args:
        path: The file; created if missing.
    """
    with path.open("a", encoding="utf-8", errors="backslashreplace", buffering=1) as file, ExitStack() as undo:
        for number, stream in ((1, sys.stdout), (2, sys.stderr)):
            stream.flush()
            kept = os.dup(number)
            undo.callback(os.close, kept)
            undo.callback(os.dup2, kept, number)
            os.dup2(file.fileno(), number)
        undo.enter_context(redirect_stdout(file))
        undo.enter_context(redirect_stderr(file))
        yield
