"""Recorded operations, computed again on other numbers, as a function of each element of one value."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from slopewise.activations._identify import grid
from slopewise.trace import OpCall, Value


def words(text: str) -> frozenset[str]:
    """Return the words of a text as a set.

    Example:
        >>> sorted(words("sub add"))
        ['add', 'sub']
    """
    return frozenset(text.split())


_CASTS = words("float double half bfloat16 to type type_as clone contiguous _to_copy")
_ARITHMETIC = words(
    "add sub rsub __rsub__ mul multiply div divide true_divide __rdiv__ __rtruediv__ neg negative pow __pow__ "
    "__rpow__ square abs absolute __abs__ sqrt rsqrt reciprocal exp expm1 log log1p log2 erf sin cos subtract "
    "clamp clamp_min clamp_max clip maximum minimum max min where gt ge lt le __gt__ __ge__ __lt__ __le__ eq ne "
    "masked_fill heaviside sign sgn logical_not __invert__ bitwise_not zeros_like ones_like full_like "
    "__setitem__"
)
_FUNCTIONS = words(
    "relu relu6 leaky_relu elu celu selu silu mish gelu hardswish sigmoid tanh hardsigmoid hardtanh softsign "
    "softplus threshold logsigmoid log_sigmoid tanhshrink softshrink hardshrink"
)
_MODULES = frozenset(
    (
        *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.CELU, nn.SELU, nn.SiLU, nn.Mish, nn.GELU, nn.Hardswish),
        *(nn.Sigmoid, nn.Tanh, nn.Hardsigmoid, nn.Hardtanh, nn.Softsign, nn.Softplus, nn.Threshold, nn.LogSigmoid),
        *(nn.Tanhshrink, nn.Softshrink, nn.Hardshrink, nn.Identity),
    )
)
_FILLED = {"zeros": 0.0, "new_zeros": 0.0, "ones": 1.0, "new_ones": 1.0}
# Operations that do much else besides: what is made of them alone acts as an activation only where one would stand.
GENERAL = _CASTS | _ARITHMETIC


class NotPointwiseError(Exception):
    """Some operation does not compute each element by itself."""


def plain_name(op: OpCall) -> str:
    """Return an operation's name without the marks of its variants.

    Example:
        >>> from types import SimpleNamespace
        >>> plain_name(SimpleNamespace(name="mul_")), plain_name(SimpleNamespace(name="mul.Tensor"))
        ('mul', 'mul')
    """
    name = op.name.partition(".")[0]
    if name.startswith("__i") and name != "__invert__":
        return name[3:-2]
    return name if name.startswith("__") else name.rstrip("_")


def changes_input(op: OpCall) -> bool:
    """Return True if an operation writes its result over its first input."""
    name = op.name.partition(".")[0]
    if name.startswith("__"):
        return name == "__setitem__" or (name.startswith("__i") and name != "__invert__")
    return name.endswith("_") or bool(op.kwargs.get("inplace", False)) or getattr(op.module, "inplace", False) is True


def is_pointwise(op: OpCall) -> bool:
    """Return True if an operation computes each element from those at the same place, and keeps the shape."""
    if op.function is None:
        if type(op.call.module) not in _MODULES:
            return False
    else:
        name = plain_name(op)
        if name not in GENERAL and name not in _FUNCTIONS:
            return False
        if (
            name in ("max", "min")
            and not (len(op.args) > 1 and isinstance(op.args[1], Value))
            and "other" not in op.kwargs
        ):
            return False
    if len(op.outputs) != 1:
        return False
    shape = op.outputs[0].shape
    return all(value.shape == shape or not value.data for value in op.inputs)


def replay(ops: Iterable[OpCall], source: Value) -> dict[Value, Tensor]:
    """Return the values that operations give for `grid()` in the place of `source`.

    Args:
        ops: All operations between, in order.
        source: Only value that they take from elsewhere, constants apart.

    Returns:
        Numbers of each value.

    Raises:
        NotPointwiseError: A constant is not known.
    """
    numbers: dict[Value, Tensor] = {source: grid()}

    def number(argument: Any) -> Any:
        if not isinstance(argument, Value):
            return argument
        if argument not in numbers:
            numbers[argument] = constant(argument)
        return numbers[argument].clone()  # which the operation may change

    with torch.no_grad():
        for op in ops:
            args, kwargs = torch.utils._pytree.tree_map(number, (op.args, dict(op.kwargs)))
            numbers[op.outputs[0]] = _applied(op, args, kwargs, numbers)
    return numbers


def _applied(op: OpCall, args: tuple[Any, ...], kwargs: dict[str, Any], numbers: dict[Value, Tensor]) -> Tensor:
    if op.function is None:
        forward: Callable[..., Tensor] = type(op.call.module).forward
        return forward(op.call.module, numbers[op.inputs[0]].clone())
    name = plain_name(op)
    if name in _CASTS:
        if not op.outputs[0].dtype.is_floating_point:
            raise NotPointwiseError(name)
        return numbers[op.inputs[0]].double()
    result = op.function(*args, **kwargs)
    return args[0] if name == "__setitem__" else result  # type: ignore[no-any-return]


def constant(value: Value) -> Tensor:
    """Return the number of a value that depends on no data; of several numbers, their mean.

    Raises:
        NotPointwiseError: The number is not known.
    """
    tensor, op = value.constant, value.producer
    if tensor is not None and tensor.numel() and not tensor.is_meta:
        return tensor.detach().cpu().double().mean()
    if op is not None and op.name in _FILLED:
        return torch.tensor(_FILLED[op.name], dtype=torch.float64)
    if op is not None and op.name in ("tensor", "as_tensor", "scalar_tensor") and isinstance(op.args[0], (int, float)):
        return torch.tensor(float(op.args[0]), dtype=torch.float64)
    raise NotPointwiseError("a constant")


def has_own_numbers(op: OpCall) -> bool:
    """Return True if an operation takes parameters, or constants for each channel."""
    known = [value.constant for value in op.inputs if value.constant is not None]
    return any(isinstance(tensor, nn.Parameter) or tensor.numel() > 1 for tensor in known)
