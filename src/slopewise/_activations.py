"""The activations that conversion knows, as modules and as functions, and what a slope can say of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from slopewise._flow import Call, Op, Value
from slopewise.nn import functional
from slopewise.nn._prelu import PReLU


@dataclass(frozen=True)
class Kind:
    """A kind of activation.

    Attributes:
        name: as PyTorch's function is called.
        module: its class.
        functions: what computes it, `torch.Tensor`'s methods included.
        settings: names of the arguments of both the class and the functions, in the functions' order after the input.
        slope: the negative slope that makes a PReLU of it, from a module; None for another shape of function.
        differs: what a PReLU with that slope does not do, in words; empty for the very same function.
    """

    name: str
    module: type[nn.Module]
    functions: tuple[Callable[..., Any], ...]
    settings: tuple[str, ...] = ()
    slope: Callable[[Any], float] | None = None
    differs: str = ""


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
)

_BY_FUNCTION = {function: kind for kind in KINDS for function in kind.functions}
_BY_NAME = {kind.name: kind for kind in KINDS}
_MODULE_OF = {kind.module: kind for kind in KINDS}


@dataclass(frozen=True)
class Activation:
    """An activation as it was found: its kind, the module that computes it, and what it was applied to."""

    kind: Kind
    module: nn.Module  # for a function a new one, which computes the same
    input: Value
    inplace: bool

    @property
    def slope(self) -> float | Tensor | None:
        """The negative slope, or slopes, that make a PReLU of it; None if none do."""
        if isinstance(self.module, nn.PReLU):
            return self.module.weight.detach().flatten()
        return None if self.kind.slope is None else self.kind.slope(self.module)


def activation_of(step: Op | Call) -> Activation | None:
    """The activation that an operation or a module's call is; None for anything else.

    A module of somebody else's that does nothing but apply an activation function to its input is one, too.
    """
    if isinstance(step, Op):
        return _of_function(step)
    if step.op is not None:
        kind = kind_of(step.module)
        inplace = bool(getattr(step.module, "inplace", False))
        return Activation(kind, step.module, step.inputs[0], inplace) if kind and step.inputs else None
    if len(step.steps) != 1 or any(True for _ in step.module.parameters()) or step.module._modules:
        return None
    (only,) = step.steps
    found = _of_function(only) if isinstance(only, Op) else None
    if found is None or step.inputs[:1] != [found.input] or step.outputs != only.outputs:
        return None
    return Activation(found.kind, step.module, found.input, found.inplace)


def kind_of(module: nn.Module) -> Kind | None:
    """The kind of an activation module of PyTorch's or ours; None for anything else.

    Example:
        >>> kind_of(nn.LeakyReLU(0.1)).name, kind_of(nn.Linear(1, 1))
        ('leaky_relu', None)
    """
    if type(module) is PReLU:
        return _BY_NAME["prelu"]
    return _MODULE_OF.get(type(module))


def kind_of_function(function: object) -> Kind | None:
    """The kind that a function, or a Tensor method's name, computes.

    Example:
        >>> kind_of_function(torch.relu).name, kind_of_function("relu_").name, kind_of_function(torch.exp)
        ('relu', 'relu', None)
    """
    if isinstance(function, str):
        function = getattr(_T, function, None)
    return _BY_FUNCTION.get(function) if callable(function) else None


def _of_function(op: Op) -> Activation | None:
    kind = kind_of_function(op.function)
    if kind is None or kind.name == "prelu" or not op.inputs:  # the slope of F.prelu is somebody else's parameter
        return None
    given: dict[str, Any] = dict(zip(kind.settings, op.args[1:], strict=False))
    given.update({key: value for key, value in op.kwargs.items() if key in kind.settings})
    inplace = op.name.endswith("_") or _flag(op, kind)
    settings: Mapping[str, Any] = {**given, "inplace": True} if inplace else given
    return Activation(kind, kind.module(**settings), op.inputs[0], inplace)


def _flag(op: Op, kind: Kind) -> bool:
    place = 1 + len(kind.settings) + (kind.name == "rrelu")  # rrelu's training stands before its inplace
    return bool(op.kwargs.get("inplace", op.args[place] if len(op.args) > place else False))
