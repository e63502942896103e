"""Choice of the rule that an operation follows."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable

import torch
from torch import Tensor, nn

from slopewise.activations import activation_of
from slopewise.init._rules import Add, Concatenate, Curve, Keep, Rule, Scale, Slopes, Unit, Unknown, plain
from slopewise.modules import role
from slopewise.nn import BatchNormPReLU
from slopewise.trace import OpCall

LAYERS = (
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
    nn.Linear,
)
_LAYER_FUNCTIONS = re.compile(r"conv(_transpose)?[123]d|linear")
_NORM_FUNCTIONS = re.compile(r"_?(native_)?(batch|layer|instance|group|rms)_norm")
_ELEMENTWISE = re.compile(
    "sigmoid|tanh|softplus|hardsigmoid|hardtanh|logsigmoid|softsign|tanhshrink|softshrink|hardshrink|threshold|clamp|"
    "abs|square|exp|erf|sin|cos"
)
_ARITHMETIC: dict[str, tuple[type[Add | Scale], int]] = {
    **dict.fromkeys(("add", "iadd", "__add__", "__radd__", "__iadd__"), (Add, 2)),
    **dict.fromkeys(("sub", "isub", "rsub", "__sub__", "__rsub__", "__isub__"), (Add, 2)),
    **dict.fromkeys(("mul", "imul", "__mul__", "__rmul__", "__imul__"), (Scale, 2)),
    **dict.fromkeys(("div", "truediv", "itruediv", "__truediv__", "__itruediv__"), (Scale, 1)),
}
_KEEPS = re.compile(
    # all kinds of pooling, padding, ..., by the end of their names
    r".*(pool|dropout|pad|shuffle|flatten|squeeze)|"
    r"identity|(reshape|view|expand|type)(_as)?|permute|transpose|swapaxes|swapdims|movedim|moveaxis|t|__get__|"
    r"contiguous|clone|copy|detach|to|float|double|half|bfloat16|interpolate|upsampl(e|ing)(_?nearest|_?bilinear)?|"
    r"_*getitem_*|narrow|select|chunk|(tensor_)?split|unbind|mean|repeat|tile|flip|roll"
)


def layer_of(op: OpCall) -> nn.Module | None:
    """Return the convolution or linear layer whose weights an operation applies; None for any other operation."""
    module = op.call.module
    applies = op.function is None or _LAYER_FUNCTIONS.fullmatch(op.name) is not None
    return module if applies and isinstance(module, LAYERS) else None


def rule_of(op: OpCall) -> Rule:
    """Return the rule for an operation."""
    for read in (_layer, _slopes, _curve, _norm, _arithmetic, _keep):
        rule = read(op)
        if rule is not None:
            return rule
    # A normalisation written out by its author: its single operations are not analysed.
    return Unit(norm=True) if role(op.call.module, "weight") == "norm or bias" else Unknown()


def _layer(op: OpCall) -> Rule | None:
    layer = layer_of(op)
    if layer is None:
        return None
    return Unit(channels=layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels)  # type: ignore[arg-type]


def _slopes(op: OpCall) -> Rule | None:
    module = op.call.module
    if isinstance(module, BatchNormPReLU) and op.function is None:
        return Slopes(_applied(module.slope, module.bounds), fused=True)
    if isinstance(module, nn.PReLU) and (op.function is None or plain(op.name) == "prelu"):
        return Slopes(_applied(module.weight, getattr(module, "bounds", None)))
    if plain(op.name) == "prelu" and len(op.inputs) > 1:  # its slopes are a parameter of the calling module
        fitting = [p for p in module.parameters(recurse=False) if tuple(p.shape) == op.inputs[1].shape]
        return Slopes(_applied(fitting[0], None)) if len(fitting) == 1 else Unknown()
    return None


def _applied(slopes: Tensor, bounds: tuple[float, float] | None) -> Tensor:
    values = slopes.detach().to("cpu", torch.float64).flatten()
    return values if bounds is None else values.clamp(*bounds)


def _curve(op: OpCall) -> Rule | None:
    activation = activation_of(op.call if op.function is None else op)
    if activation is not None:
        slope = activation.slope
        return (
            Curve(_forward(activation.module)) if slope is None else Slopes(torch.tensor([slope], dtype=torch.float64))
        )
    if _ELEMENTWISE.fullmatch(plain(op.name)) and len(op.inputs) == 1:
        return Curve(_forward(op.call.module) if op.function is None else _with_arguments(op, op.function))
    return None


def _forward(module: nn.Module) -> Callable[[Tensor], Tensor]:
    """Return a module's function in evaluation mode, without its hooks, which must not see these trial calls."""
    function: Callable[[Tensor], Tensor] = copy.copy(module).eval().forward
    return function


def _with_arguments(op: OpCall, function: Callable[..., Tensor]) -> Callable[[Tensor], Tensor]:
    args, kwargs = op.args[1:], {name: value for name, value in op.kwargs.items() if name != "input"}
    return lambda x: function(x, *args, **kwargs)


def _norm(op: OpCall) -> Rule | None:
    norm = op.module is not None and role(op.module, "weight") == "norm or bias"
    return Unit(norm=True) if norm or _NORM_FUNCTIONS.fullmatch(op.name) else None


def _arithmetic(op: OpCall) -> Rule | None:
    name = plain(op.name)
    if name in ("cat", "concat", "concatenate"):
        return Concatenate()
    kind, most = _ARITHMETIC.get(name, (Add, 0))
    return kind() if op.function is not None and len(op.inputs) <= most else None


def _keep(op: OpCall) -> Rule | None:
    return Keep() if _KEEPS.fullmatch(plain(op.name)) else None
