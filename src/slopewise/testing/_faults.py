"""Activations that misbehave in training, for conformance kits: worker processes import them by reference."""

from __future__ import annotations

import os
import random
import threading
import warnings
from pathlib import Path

import numpy as np
import torch
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


class _Polluting(nn.ReLU):
    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            torch.set_default_dtype(torch.float64)
            torch.set_num_threads(torch.get_num_threads() + 1)
            torch.set_flush_denormal(True)
            torch.backends.mkldnn.enabled = False  # type: ignore[assignment]
            torch.set_grad_enabled(False)
            random.seed(1)
            np.random.seed(1)  # noqa: NPY002 - the generator that a trial may inherit
            torch.manual_seed(1)
            os.environ["OMP_NUM_THREADS"] = "7"
            os.chdir("/")
            warnings.simplefilter("error")
            raise RuntimeError("raised by slopewise.testing")
        return super().forward(x)


class _Hanging(nn.ReLU):
    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            threading.Event().wait()
        return super().forward(x)


def raising(channels: int) -> nn.Module:  # noqa: ARG001 - the signature of activations
    """Return an activation that raises in training."""
    return _Raising()


def exiting(channels: int) -> nn.Module:  # noqa: ARG001
    """Return an activation that ends its process in training, as a crash of a library does."""
    return _Exiting()


def polluting(channels: int) -> nn.Module:  # noqa: ARG001
    """Return an activation that changes the global state of its process in training, and raises."""
    return _Polluting()


def hanging(channels: int) -> nn.Module:  # noqa: ARG001
    """Return an activation that waits for ever in training, as a data loader may."""
    return _Hanging()


def writing(channels: int, folder: str) -> nn.Module:  # noqa: ARG001
    """Return an activation that adds a byte to a file named by its process in each forward pass in training."""
    return _Writing(folder)
