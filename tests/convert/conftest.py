"""An oracle for conversions: the network as it was given, each ReLU of its replaced by a leaky one while it runs."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

IN_PLACE = {F.relu_, torch.relu_, torch.Tensor.relu_}
RELUS = {F.relu, torch.relu, torch.Tensor.relu} | IN_PLACE


class Oracle(TorchFunctionMode):
    """Counts the calls of ReLU by PyTorch's own dispatch, and computes a leaky ReLU instead."""

    def __init__(self, slope: float) -> None:
        super().__init__()
        self.slope, self.calls = slope, 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func not in RELUS:
            return func(*args, **(kwargs or {}))
        self.calls += 1
        x = args[0] if args else kwargs["input"]
        in_place = func in IN_PLACE or (kwargs or {}).get("inplace", args[1] if len(args) > 1 else False)
        if self.slope == 0.0:
            return func(*args, **(kwargs or {}))
        return F.leaky_relu_(x, self.slope) if in_place else F.leaky_relu(x, self.slope)


@pytest.fixture
def oracle():
    return Oracle
