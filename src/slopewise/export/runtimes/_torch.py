"""PyTorch itself, on the program that `torch.export.load` returns."""

from __future__ import annotations

from slopewise.export._program import run
from slopewise.export.runtimes._base import Exported, Loaded, Runtime


class Torch(Runtime):
    """PyTorch, which runs the loaded program."""

    name, title, packages = "torch", "PyTorch", {"torch": "torch"}

    def load(self, exported: Exported) -> Loaded:
        """Load the program."""
        program = exported.program()
        return Loaded(lambda call: run(program, call))
