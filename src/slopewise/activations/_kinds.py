"""Activations that conversion knows, as modules and as functions, with the slope that makes a PReLU of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from slopewise.nn import PReLU, functional


@dataclass(frozen=True)
class Kind:
    """A kind of activation.

    Attributes:
        name: PyTorch's name of the function.
        module: Class that computes it.
        functions: Functions that compute it, `torch.Tensor`'s methods included.
        settings: Names of the arguments of both the class and the functions, in the functions' order after the input.
        slope: Function (module) -> negative slope of an equal PReLU; None for another shape of function.
        differs: Difference from a PReLU with that slope, in words; empty for the same function.
        left: Reason why the kind is left unchanged unless it is named, in words; empty for a kind that is converted.
    """

    name: str
    module: type[nn.Module]
    functions: tuple[Callable[..., Any], ...] = ()
    settings: tuple[str, ...] = ()
    slope: Callable[[Any], float] | None = None
    differs: str = ""
    left: str = ""


class ScaledSiLU(nn.Module):
    """x * sigmoid(beta * x); with beta = 1.702 the quick approximation of GELU."""

    def __init__(self, beta: float = 1.702) -> None:
        super().__init__()
        self.beta = beta

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (PyTorch's name)
        """Apply the activation."""
        return input * torch.sigmoid(self.beta * input)


class Sine(nn.Module):
    """sin(x), the activation of SIREN."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (PyTorch's name)
        """Apply the activation."""
        return torch.sin(input)


# Private: functions such as F.hardtanh call these, and code may call them itself. Without them, such calls are unknown.
_C = torch._C._nn
_T = torch.Tensor

KINDS = (
    Kind(
        "relu",
        nn.ReLU,
        (F.relu, torch.relu, torch.relu_, _T.relu, _T.relu_),
        slope=lambda _: 0.0,
        differs="at an input of -inf a slope of 0 gives NaN, and for negative inputs -0.0, where ReLU gives 0",
    ),
    Kind(
        "relu6",
        nn.ReLU6,
        (F.relu6, _C.relu6, _C.relu6_),
        differs="values above 6 are no longer capped",
    ),
    Kind(
        "leaky_relu",
        nn.LeakyReLU,
        (F.leaky_relu, _C.leaky_relu, _C.leaky_relu_),
        ("negative_slope",),
        slope=lambda module: float(module.negative_slope),
    ),
    Kind("prelu", nn.PReLU, (F.prelu, torch.prelu, _T.prelu, functional.prelu)),
    Kind(
        "rrelu",
        nn.RReLU,
        (F.rrelu, torch.rrelu, torch.rrelu_),
        ("lower", "upper"),
        differs="slopes are learned, no longer drawn at random",
    ),
    Kind("elu", nn.ELU, (F.elu, _C.elu, _C.elu_), ("alpha",), differs="ELU is curved"),
    Kind("celu", nn.CELU, (F.celu, torch.celu, torch.celu_), ("alpha",), differs="CELU is curved"),
    Kind("selu", nn.SELU, (F.selu, torch.selu, torch.selu_), differs="SELU is curved, and scales"),
    Kind("silu", nn.SiLU, (F.silu, _C.silu, _C.silu_), differs="SiLU is curved"),
    Kind("mish", nn.Mish, (F.mish, _C.mish, _C.mish_), differs="Mish is curved"),
    Kind("gelu", nn.GELU, (F.gelu, _C.gelu), ("approximate",), differs="GELU is curved"),
    Kind("hardswish", nn.Hardswish, (F.hardswish, _C.hardswish, _C.hardswish_), differs="Hardswish is curved"),
    Kind("scaled_silu", ScaledSiLU, settings=("beta",), differs="x * sigmoid(beta * x) is curved"),
    Kind("clipped_relu", nn.Hardtanh, differs="large values are no longer capped"),
)

_BOUNDED = "it is bounded, which no PReLU is"
_POSITIVE = "its outputs are positive, which a PReLU's are not"
_OTHER = "it is no relative of ReLU"

OTHERS = (
    Kind("sigmoid", nn.Sigmoid, (F.sigmoid, torch.sigmoid, torch.sigmoid_, _T.sigmoid, _T.sigmoid_), left=_BOUNDED),
    Kind("tanh", nn.Tanh, (F.tanh, torch.tanh, torch.tanh_, _T.tanh, _T.tanh_), left=_BOUNDED),
    Kind("hardsigmoid", nn.Hardsigmoid, (F.hardsigmoid, _C.hardsigmoid, _C.hardsigmoid_), left=_BOUNDED),
    Kind("hardtanh", nn.Hardtanh, (F.hardtanh, _C.hardtanh, _C.hardtanh_), ("min_val", "max_val"), left=_BOUNDED),
    Kind("softsign", nn.Softsign, (F.softsign,), left=_BOUNDED),
    Kind("softplus", nn.Softplus, (F.softplus, _C.softplus), ("beta", "threshold"), left=_POSITIVE),
    Kind(
        "threshold", nn.Threshold, (F.threshold, torch.threshold, torch.threshold_), ("threshold", "value"), left=_OTHER
    ),
    Kind("logsigmoid", nn.LogSigmoid, (F.logsigmoid, _C.log_sigmoid), left=_OTHER),
    Kind("tanhshrink", nn.Tanhshrink, (F.tanhshrink,), left=_OTHER),
    Kind("softshrink", nn.Softshrink, (F.softshrink, _C.softshrink), ("lambd",), left=_OTHER),
    Kind("hardshrink", nn.Hardshrink, (F.hardshrink, torch.hardshrink, _T.hardshrink), ("lambd",), left=_OTHER),
    Kind("sin", Sine, (torch.sin, torch.sin_, _T.sin, _T.sin_), left=_OTHER),
    Kind("glu", nn.GLU, (F.glu, _C.glu), ("dim",), left="it gates one half of its input with the other"),
)
NAMED = {kind.name: kind for kind in (*KINDS, *OTHERS)}

_BY_FUNCTION = {function: kind for kind in KINDS for function in kind.functions}
_OTHER_BY_FUNCTION = {function: kind for kind in OTHERS for function in kind.functions}
_MODULE_OF = {kind.module: kind for kind in KINDS if kind.name != "clipped_relu"}
_OTHER_MODULE_OF = {kind.module: kind for kind in OTHERS}


def kind_of(module: nn.Module) -> Kind | None:
    """Return the kind of a module of PyTorch's or ours, if it is one that is converted; None for anything else.

    Example:
        >>> kind_of(nn.LeakyReLU(0.1)).name, kind_of(nn.Tanh()), kind_of(nn.Linear(1, 1))
        ('leaky_relu', None, None)
    """
    if type(module) is PReLU:
        return NAMED["prelu"]
    return _MODULE_OF.get(type(module))


def other_kind_of(module: nn.Module) -> Kind | None:
    """Return the kind of a module of PyTorch's, if it is one that is only listed; None for anything else.

    Example:
        >>> other_kind_of(nn.Tanh()).left
        'it is bounded, which no PReLU is'
    """
    return _OTHER_MODULE_OF.get(type(module))


def kind_of_function(function: object) -> Kind | None:
    """Return the kind that a function, or a Tensor method's name, computes, if it is one that is converted.

    Example:
        >>> kind_of_function(torch.relu).name, kind_of_function("relu_").name, kind_of_function(torch.exp)
        ('relu', 'relu', None)
    """
    return _looked_up(function, _BY_FUNCTION)


def other_kind_of_function(function: object) -> Kind | None:
    """Return the kind that a function, or a Tensor method's name, computes, if it is one that is only listed.

    Example:
        >>> other_kind_of_function("sigmoid").name
        'sigmoid'
    """
    return _looked_up(function, _OTHER_BY_FUNCTION)


def _looked_up(function: object, table: dict[Callable[..., Any], Kind]) -> Kind | None:
    # Private, but the only classes of operators as exported and compiled programs call them.
    if isinstance(function, (torch._ops.OpOverload, torch._ops.OpOverloadPacket)):
        library, _, name = str(function).partition(".")
        kind = NAMED.get(name.partition(".")[0].rstrip("_")) if library == "aten" else None
        return kind if kind in table.values() else None
    if isinstance(function, str):
        function = getattr(_T, function, None)
    return table.get(function) if callable(function) else None
