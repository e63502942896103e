"""Roles of activations, read off the sources of their inputs and the uses of their outputs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from slopewise.activations._detection import Activation
from slopewise.activations._pointwise import plain_name, words
from slopewise.trace import OpCall, Value

SIGN = "its sign matters"
_FAR = 400  # operations that are followed
_RECTIFIERS = words("relu relu6 clipped_relu")  # whose outputs are never negative
_GATES = words("relu6 clipped_relu sigmoid hardsigmoid hardtanh tanh")

_SHAPES = words(
    "view reshape flatten unflatten permute transpose swapaxes swapdims movedim moveaxis t squeeze unsqueeze expand "
    "expand_as repeat repeat_interleave __getitem__ select narrow chunk split tensor_split unbind contiguous clone "
    "float double half bfloat16 to type type_as __get__ pad roll flip interpolate dropout dropout1d dropout2d"
)
_SUMS = words(
    "sum mean cumsum amax amin clamp clamp_min clamp_max clip cat concat stack maximum max min avg_pool1d avg_pool2d "
    "avg_pool3d max_pool1d max_pool2d max_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d"
)
_PRODUCTS = words("matmul __matmul__ mm bmm einsum")
_ADDS = words("add sub")
_SCALES = words("mul multiply div divide true_divide")
_NEEDS = {
    **dict.fromkeys(("log", "log2", "log10", "log1p", "xlogy"), "a logarithm"),
    **dict.fromkeys(("sqrt", "rsqrt"), "a square root"),
    **dict.fromkeys(("pow", "__pow__", "square", "float_power"), "a power"),
    **dict.fromkeys(("reciprocal", "__rdiv__", "__rtruediv__"), "a divisor"),
    **dict.fromkeys(("multinomial", "poisson", "bernoulli"), "probabilities"),
}
_LAYERS = words(
    "conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d linear bilinear matmul __matmul__ mm bmm "
    "einsum addmm baddbmm scaled_dot_product_attention"
)


@dataclass(frozen=True)
class Role:
    """Reason to leave an activation unchanged; `quiet` if the user need not look at it."""

    reason: str
    quiet: bool


def role_of(activation: Activation) -> Role | None:
    """Return the reason to leave an activation unchanged; None if it is to be converted.

    Its input may depend on no data, it may be a gate or a limit, or its kind may be no relative of ReLU.
    """
    if not activation.input.data:
        return Role("its input depends on no data", quiet=True)
    gate = _gate(activation)
    if gate:
        return Role(gate, quiet=True)
    if activation.fixed:
        return Role(activation.fixed, quiet=False)
    if activation.kind.left:
        return Role(activation.kind.left, quiet=not _between_layers(activation))
    if activation.general and activation.kind.name in _RECTIFIERS and not _between_layers(activation):
        return Role("it stands between no two layers, and so is taken for a limit", quiet=True)
    return None


def is_activation(activation: Activation) -> bool:
    """Return True if a match is more than arithmetic, such as limits of coordinates or codes of positions."""
    return not (activation.general and activation.kind.left) or (activation.input.data and _between_layers(activation))


def sign_matters(activation: Activation) -> str:
    """Return the uses for which a rectifier's output must not be negative, in words; empty if none is known."""
    if activation.kind.name not in _RECTIFIERS:
        return ""
    for op, value, mixed in _followed(activation.output):
        need = _need(op, value, activation, mixed=mixed)
        if need:
            return f"{SIGN}: it feeds {need}"
    return ""


def _gate(activation: Activation) -> str:
    if activation.kind.name not in _GATES:
        return ""
    sources = None
    for op, value, mixed in _followed(activation.output):
        name = plain_name(op)
        if mixed or name not in _SCALES:
            continue
        if activation.kind.name == "relu6" and _scale(op) in (6.0, 1.0 / 6.0):
            return f"it is a gate, whose output is divided by 6 at {op.where}"
        factors = [factor for factor in op.inputs if factor is not value and factor.data]
        if factors and name in ("mul", "multiply"):
            sources = _ancestors(activation.input) if sources is None else sources
            if any(factor in sources or activation.output not in _ancestors(factor) for factor in factors):
                if activation.kind.name in ("relu6", "clipped_relu") and not any(
                    factor in sources for factor in factors
                ):
                    continue
                return f"it is a gate, which is multiplied with what it lets through at {op.where}"
    return ""


def _scale(op: OpCall) -> float | None:
    """Return the number that an operation multiplies with or divides by."""
    for argument in (*op.args[1:], *op.kwargs.values()):
        if isinstance(argument, (int, float)) and not isinstance(argument, bool):
            return 1.0 / 6.0 if abs(argument - 1.0 / 6.0) < 1e-3 else float(argument)
    return None


def _need(op: OpCall, value: Value, activation: Activation, *, mixed: bool) -> str:
    """Return the part of an operation that needs a value not to be negative; `mixed` if others went into it, too."""
    name = plain_name(op)
    if name in _NEEDS and op.inputs[:1] == [value]:
        return f"{_NEEDS[name]} ({name} at {op.where})"
    if name in ("div", "divide", "true_divide", "floor_divide") and value in op.inputs[1:]:
        return f"a divisor ({name} at {op.where})"
    if mixed:
        return ""
    if op.function is None and op.name == "output":
        return "the model's output"
    if name in ("mul", "multiply"):
        factors = [factor for factor in op.inputs if factor is not value and factor.data]
        if any(activation.output not in _ancestors(factor) for factor in factors):
            return f"a product with another signal, as a mask does (multiplied at {op.where})"
    return ""


def _followed(start: Value) -> Iterator[tuple[OpCall, Value, bool]]:
    """Yield the operations that use a value, or its results by shapes, sums and scales, each with its value."""
    ahead: list[tuple[Value, bool]] = [(start, False)]
    seen = {start}
    while ahead and len(seen) < _FAR:
        value, mixed = ahead.pop(0)
        for op in value.users:
            yield op, value, mixed
            onward = _onward(op, value)
            if onward is None:
                continue
            for output in op.outputs:
                if output not in seen:
                    seen.add(output)
                    ahead.append((output, mixed or onward))


def _onward(op: OpCall, value: Value) -> bool | None:
    """Return True if an operation mixes a value with other data; None if its result is no form of the value."""
    if op.function is None:
        module = op.call.module
        passes = isinstance(module, (nn.Flatten, nn.Identity, nn.Dropout, nn.Dropout2d, nn.modules.pooling._AvgPoolNd))
        passes = passes or isinstance(
            module, (nn.modules.pooling._MaxPoolNd, nn.modules.pooling._AdaptiveAvgPoolNd, nn.Upsample)
        )
        return False if passes else None
    name, mixes = plain_name(op), any(operand is not value and operand.data for operand in op.inputs)
    if name in _SHAPES or name in _SUMS:
        return mixes
    if name in _PRODUCTS:
        return True
    if name in _ADDS:
        return mixes
    return False if name in _SCALES and not mixes and op.inputs[:1] == [value] else None


def _ancestors(value: Value) -> set[Value]:
    """Yield a value and all values that it was computed from."""
    ancestors, ahead = {value}, [value]
    while ahead:
        producer = ahead.pop().producer
        for source in producer.inputs if producer is not None else ():
            if source not in ancestors:
                ancestors.add(source)
                ahead.append(source)
    return ancestors


def _between_layers(activation: Activation) -> bool:
    """Return True if a layer before an activation determines the channels, and one with weights is behind it."""
    if activation.input.axis is None:
        return False
    seen, ahead = {activation.output}, [activation.output]
    while ahead and len(seen) < _FAR:
        for op in ahead.pop(0).users:
            if op.name == "output":
                continue
            if _is_layer(op):
                return True
            if plain_name(op) in _SCALES and sum(value.data for value in op.inputs) > 1:
                continue
            for output in op.outputs:
                if output not in seen and output.dtype.is_floating_point:
                    seen.add(output)
                    ahead.append(output)
    return False


def _is_layer(op: OpCall) -> bool:
    if op.function is None:
        return any(parameter.dim() > 1 for parameter in op.call.module.parameters())
    return plain_name(op) in _LAYERS
