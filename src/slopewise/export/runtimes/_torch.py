"""PyTorch itself, on the program as `torch.export.load` gives it."""

from __future__ import annotations

from slopewise.export._program import run
from slopewise.export.runtimes._base import Exported, Loaded, Runtime


class Torch(Runtime):
    """The loaded program."""

    name, title, packages = "torch", "PyTorch", {"torch": "torch"}

    def load(self, exported: Exported) -> Loaded:
        """Load the file."""
        program = exported.program()
        return Loaded(lambda call: run(program, call))
