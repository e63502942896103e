"""An oracle for conversions: the original network, whose activations are replaced by leaky ones as it runs."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

C = torch._C._nn
IN_PLACE = {F.relu_, torch.relu_, torch.Tensor.relu_, C.relu6_}
FUNCTIONS = {
    "relu": {F.relu, torch.relu, torch.Tensor.relu, F.relu_, torch.relu_, torch.Tensor.relu_},
    "relu6": {F.relu6, C.relu6, C.relu6_, F.hardtanh},  # torch.nn.ReLU6 calls the last one, as hardtanh(x, 0, 6)
    "gelu": {F.gelu, C.gelu},
    "prelu": {F.prelu, torch.prelu, torch.Tensor.prelu},
}


class Oracle(TorchFunctionMode):
    """Counts the calls of ReLU by PyTorch's own dispatch, and computes a leaky ReLU instead.

    Args:
        slope: Slope of all calls, or a tensor for each call that broadcasts against its input. 0 leaves the activation.
        kinds: Kinds of activations that are replaced.
    """

    def __init__(self, slope=0.0, kinds=("relu",)):
        super().__init__()
        self.slope, self.kinds = slope, kinds
        self.seen = []  # the kind and the input's shape of every call
        self.largest = 0.0  # of all inputs

    @property
    def calls(self):
        return len(self.seen)

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        kind = next((kind for kind in self.kinds if func in FUNCTIONS[kind]), None)
        if kind is None or (func is F.hardtanh and (kwargs["min_val"], kwargs["max_val"]) != (0, 6)):
            return func(*args, **kwargs)
        x = args[0] if args else kwargs["input"]
        self.seen.append((kind, tuple(x.shape)))
        self.largest = max(self.largest, float(x.detach().max()))
        slope = self.slope if isinstance(self.slope, float) else self.slope[self.calls - 1]
        if isinstance(slope, float) and slope == 0.0:
            return func(*args, **kwargs)
        in_place = func in IN_PLACE or kwargs.get("inplace", False)  # torch's own functions dispatch by keyword
        given = x.clone() if in_place else x
        leaky = torch.where(given > 0, given, slope * given)
        return x.copy_(leaky) if in_place else leaky


@pytest.fixture
def oracle():
    return Oracle
