"""Activations that misbehave in training, for conformance kits: worker processes import them by reference."""

from __future__ import annotations

import os
from pathlib import Path

from torch import Tensor, nn


class _Raising(nn.ReLU):
    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            raise RuntimeError("raised by slopewise.testing")
        return super().forward(x)


class _Exiting(nn.ReLU):
    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            os._exit(7)
        return super().forward(x)


class _Writing(nn.ReLU):
    def __init__(self, folder: str) -> None:
        super().__init__()
        self.folder = folder

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            with (Path(self.folder) / str(os.getpid())).open("a") as file:
                file.write(".")
        return super().forward(x)


def raising(channels: int) -> nn.Module:  # noqa: ARG001 - the signature of activations
    """Return an activation that raises in training."""
    return _Raising()


def exiting(channels: int) -> nn.Module:  # noqa: ARG001
    """Return an activation that ends its process in training, as a crash of a library does."""
    return _Exiting()


def writing(channels: int, folder: str) -> nn.Module:  # noqa: ARG001
    """Return an activation that adds a byte to a file named by its process in each forward pass in training."""
    return _Writing(folder)
