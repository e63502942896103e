"""Rules of each kind of operation for the moments of its inputs, forward, and for those of gradients, backward.

Moments are as in `_expectation`; a gradient has only its second moment, (C).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from math import prod
from typing import Any

import torch
from torch import Tensor

from slopewise.errors import ModelError
from slopewise.init import _expectation as expectation
from slopewise.init._expectation import fit, unit
from slopewise.trace import OpCall, Value

_SUFFIX = re.compile(r"_?[123]d(_with_indices)?$")
_PARTS = frozenset("__getitem__ getitem narrow select chunk split tensor_split unbind".split())  # noqa: SIM905
_RESHAPES = ("flatten", "reshape", "view")

Known = Mapping[Value, Tensor]
Gradients = Iterator[tuple[Value, Tensor]]


def channels_of(value: Value) -> int | None:
    """Return a value's number of channels, or None if it is unknown."""
    if value.axis is not None:
        return value.shape[value.axis.dim]
    return value.shape[1] if len(value.shape) == 2 else None


def plain(name: str) -> str:
    """Return a module's or function's name without the marks of its variants.

    Example:
        >>> plain("AdaptiveAvgPool2d"), plain("mul_"), plain("__getitem__")
        ('adaptiveavgpool', 'mul', '__getitem__')
    """
    name = _SUFFIX.sub("", name.lower().partition(".")[0])  # an operator of our own is called prelu.default
    return name if name.startswith("__") else name.rstrip("_")


class Unit:
    """Moments 0 and 1 for any input: a normalisation, and a layer with weights once it is initialised."""

    def __init__(self, *, norm: bool = False, channels: int | None = None) -> None:
        self.norm, self.channels = norm, channels

    def forward(self, op: OpCall, known: Known) -> Tensor:
        """Return the moments of the first output."""
        return unit().expand(2, self.channels or known[op.inputs[0]].shape[1])

    def backward(self, op: OpCall, known: Known, gradient: Tensor) -> Gradients:  # noqa: ARG002 - one signature for all
        """Yield the second moment that each input's gradient gains."""
        for value in op.inputs:
            if value in known:
                yield value, unit()[1]


class Unknown(Unit):
    """An operation without a rule."""

    def forward(self, op: OpCall, known: Known) -> Tensor:  # noqa: ARG002
        """Return moments 0 and 1, for lack of a better estimate."""
        return unit()


class Slopes:
    """A negative slope, or one for each channel; for a fused layer, including the normalisation before it."""

    def __init__(self, slopes: Tensor, *, fused: bool = False) -> None:
        self.slopes, self.fused = slopes, fused

    def forward(self, op: OpCall, known: Known) -> Tensor:
        return expectation.through_slopes(self._input(op, known), self.slopes)

    def backward(self, op: OpCall, known: Known, gradient: Tensor) -> Gradients:
        factor = expectation.gradient_through_slopes(self._input(op, known), self.slopes)
        behind = fit(gradient, len(factor)) * factor
        if self.fused:
            yield op.inputs[0], unit()[1]
        for value in op.inputs[1:2] if self.fused else op.inputs[:1]:
            yield value, behind

    def _input(self, op: OpCall, known: Known) -> Tensor:
        pre = unit() if self.fused else known[op.inputs[0]]
        if self.fused and len(op.inputs) > 1 and op.inputs[1] in known:
            pre = _sum((pre, 1.0), (known[op.inputs[1]], 1.0))
        count = len(self.slopes)
        return pre if count == 1 else fit(pre, count)


class Curve:
    """Any other elementwise function."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        self.function = function

    def forward(self, op: OpCall, known: Known) -> Tensor:
        return expectation.through(known[op.inputs[0]], self.function)

    def backward(self, op: OpCall, known: Known, gradient: Tensor) -> Gradients:
        factor = expectation.gradient_through(known[op.inputs[0]], self.function)
        yield op.inputs[0], fit(gradient, len(factor)) * factor


class Add:
    """A sum or difference. Branches are taken as uncorrelated: variances add, and so do means."""

    def forward(self, op: OpCall, known: Known) -> Tensor:
        terms = [(known[value], factor) for value, factor in self._factors(op, known).items()]
        total = _sum(*terms)
        shift = sum(sign * a for a, sign in self._signed(op) if isinstance(a, (int, float)))
        return torch.stack([total[0] + shift, total[1] + 2 * shift * total[0] + shift**2])

    def backward(self, op: OpCall, known: Known, gradient: Tensor) -> Gradients:
        for value, factor in self._factors(op, known).items():
            yield value, gradient * factor**2

    def _factors(self, op: OpCall, known: Known) -> dict[Value, float]:
        """Return the factor of each distinct term: x + x is 2·x, whose second moment is 4 times that of x."""
        factors: Counter[Value] = Counter()
        for argument, sign in self._signed(op):
            if argument in known:
                factors[argument] += sign  # type: ignore[assignment]
        return dict(factors)

    def _signed(self, op: OpCall) -> list[tuple[Any, float]]:
        operands = (*op.args, *(op.kwargs[key] for key in ("input", "other") if key in op.kwargs))[:2]
        # A tensor changed in place appears in the arguments as it is afterwards, in the inputs as it was before.
        values = iter(op.inputs)
        first, second = (next(values) if isinstance(argument, Value) else argument for argument in operands)
        alpha = op.kwargs.get("alpha", 1)
        factor = float(alpha) if isinstance(alpha, (int, float)) else 1.0
        if "rsub" in op.name:
            return [(first, -factor), (second, 1.0)]
        return [(first, 1.0), (second, -factor if "sub" in op.name else factor)]


class Scale:
    """Multiplication by a number, or by another value that is taken as independent; division by a number."""

    def forward(self, op: OpCall, known: Known) -> Tensor:
        result = torch.ones(2, 1, dtype=torch.float64)
        for value in op.inputs:
            result = _broadcast(result, known[value]) if value in known else result
        factor = self._number(op)
        return result * torch.tensor([[factor], [factor**2]], dtype=torch.float64)

    def backward(self, op: OpCall, known: Known, gradient: Tensor) -> Gradients:
        present = [value for value in op.inputs if value in known]
        for place, value in enumerate(present):
            factor = torch.full((1,), self._number(op) ** 2, dtype=torch.float64)
            for operand in present[:place] + present[place + 1 :]:
                factor = factor * known[operand][1]
            count = max(len(gradient), len(factor))
            yield value, fit(gradient, count) * fit(factor, count)

    def _number(self, op: OpCall) -> float:
        numbers = [float(a) for a in op.args if isinstance(a, (int, float))]
        return prod(1 / n if "div" in op.name and n else n for n in numbers)


class Concatenate:
    """Channels of several values, one after the other; along another dimension, the mean over all elements."""

    def forward(self, op: OpCall, known: Known) -> Tensor:
        parts = [known.get(value, unit()) for value in op.inputs]
        dim, axis = self._dims(op)
        if dim != axis:
            lengths = torch.tensor([float(v.shape[dim]) if v.shape else 1.0 for v in op.inputs], dtype=torch.float64)
            count = max(part.shape[1] for part in parts)
            stacked = torch.stack([part.expand(2, count) for part in parts], -1)
            return (stacked * lengths).sum(-1) / lengths.sum()
        counts = self._counts(op, parts)
        if counts is None:
            return parts[0]
        return torch.cat([fit(part, count).expand(2, count) for part, count in zip(parts, counts, strict=True)], 1)

    def backward(self, op: OpCall, known: Known, gradient: Tensor) -> Gradients:
        dim, axis = self._dims(op)
        counts = self._counts(op, [known.get(value, unit()) for value in op.inputs])
        if dim != axis or counts is None or len(gradient) != sum(counts):
            parts: list[Tensor] = [gradient.mean(-1, keepdim=True)] * len(op.inputs)
        else:
            parts = list(gradient.split(counts))
        yield from ((value, part) for value, part in zip(op.inputs, parts, strict=True) if value in known)

    def _dims(self, op: OpCall) -> tuple[int, int]:
        """Return the dimension of concatenation and that of the channels; the same if the latter is unknown."""
        dim, shape = op.kwargs.get("dim", op.args[1] if len(op.args) > 1 else 0), op.outputs[0].shape
        dim = dim % len(shape) if shape else 1
        return dim, next((value.axis.dim for value in op.inputs if value.axis is not None), dim or 1)

    def _counts(self, op: OpCall, parts: list[Tensor]) -> list[int] | None:
        """Return the number of channels of each part, or None if all have the same moments and it does not matter."""
        if all(part.shape[1] == 1 and torch.equal(part, parts[0]) for part in parts):
            return None
        dim, counts = self._dims(op)[0], []
        for value, part in zip(op.inputs, parts, strict=True):
            if not value.shape and part.shape[1] == 1:
                raise ModelError(
                    "a concatenation takes a value of which the graph alone does not tell how many channels it has: "
                    "pass example_inputs"
                )
            # torch.cat skips tensors of shape (0,), from which accumulating loops start.
            counts.append((*value.shape, *[0] * dim)[dim] if value.shape else part.shape[1])
        return counts


class Keep:
    """An operation that moves, picks, repeats or pools elements: each channel keeps its moments."""

    def forward(self, op: OpCall, known: Known) -> Tensor:
        source = op.inputs[-1 if plain(op.name) == "copy" else 0]
        moments, count = known.get(source, unit()), channels_of(op.outputs[0])
        if plain(op.name) in _PARTS and count != moments.shape[1]:  # the choice of channels is not tracked
            return moments.mean(1, keepdim=True)
        if self._interleaves(op, source) and count is not None and count % moments.shape[1] == 0:
            return moments.repeat(1, count // moments.shape[1])
        return fit(moments, count)

    def backward(self, op: OpCall, known: Known, gradient: Tensor) -> Gradients:
        source = op.inputs[-1 if plain(op.name) == "copy" else 0]
        if source not in known:
            return
        if plain(op.name) in _PARTS:  # an element picked once has the gradient, others have none
            users = sum(plain(user.name) in _PARTS for user in source.users)
            whole, part = prod(source.shape), sum(prod(value.shape) for value in op.outputs if value.users)
            gradient = gradient.mean(-1, keepdim=True) * (part / whole if source.shape else 1 / users)
        yield source, fit(gradient, known[source].shape[1])

    def _interleaves(self, op: OpCall, source: Value) -> bool:
        """Return True if channels are last and are flattened with the dimensions before them: (L, C) to L·C."""
        axis, shape = source.axis, source.shape
        flattens = plain(op.name) in _RESHAPES and len(op.outputs[0].shape) == 2 and len(shape) > 2
        return flattens and axis is not None and axis.dim == len(shape) - 1


Rule = Unit | Slopes | Curve | Add | Scale | Concatenate | Keep


def _broadcast(first: Tensor, second: Tensor) -> Tensor:
    count = max(first.shape[-1], second.shape[-1])
    return fit(first, count) * fit(second, count)


def _sum(*terms: tuple[Tensor, float]) -> Tensor:
    """Return the moments of a weighted sum of uncorrelated values."""
    count = max(moments.shape[1] for moments, _ in terms)
    mean = sum((fit(m, count)[0] * factor for m, factor in terms), torch.zeros(1, dtype=torch.float64))
    variance = sum((fit(m, count)[1] - fit(m, count)[0] ** 2) * factor**2 for m, factor in terms)
    return torch.stack([mean.expand(count), (mean**2 + variance).expand(count)])
