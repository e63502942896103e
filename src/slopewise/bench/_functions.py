"""The functions that are timed against each other, each as three callables: forward, backward, and both.

The inputs are dense and random; the incoming gradient is given and has the input's layout. "forward" builds the graph
for backward, as in training; "backward" runs backward through one retained graph; "both" builds a graph and runs
backward. All parameters have the input's dtype, as `model.to(dtype)` leaves them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from slopewise.nn import functional
from slopewise.timing import Candidate

Size = tuple[int, int, int, int]
ByPass = dict[str, Candidate]
_Function = Callable[..., Tensor]

LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}

F_RELU, F_PRELU, F_PRELU_COMPILED, OUR_PRELU, COPY = "F.relu", "F.prelu", "F.prelu compiled", "slopewise prelu", "copy"
BN_RELU, BN_PRELU, BN_PRELU_COMPILED = "BatchNorm+ReLU(inplace)", "BatchNorm+PReLU", "BatchNorm+PReLU compiled"
BN_FUSED, BN_FUSED_LOW_MEMORY = "slopewise fused", "slopewise fused low_memory"


def prelu_candidates(size: Size, layout: str, dtype: str, slopes: str, *, compiled: bool) -> dict[str, ByPass]:
    """Return ReLU, PyTorch's PReLU, slopewise's, and a copy of the same bytes; ReLU is first, as the baseline.

    Example:
        >>> candidates = prelu_candidates((2, 3, 4, 4), "channels_last", "float32", "shared", compiled=False)
        >>> list(candidates), list(candidates["copy"])
        (['F.relu', 'F.prelu', 'slopewise prelu', 'copy'], ['forward', 'backward', 'both'])
    """
    x, grad = _tensors(2, size, layout, dtype)
    x.requires_grad_()
    slope = torch.full((1 if slopes == "shared" else size[1],), 0.25, dtype=x.dtype, requires_grad=True)
    candidates = {
        F_RELU: _passes(F.relu, (x,), grad),
        F_PRELU: _passes(_stock_prelu, (x, slope), grad),
        OUR_PRELU: _passes(functional.prelu, (x, slope), grad),
        COPY: _copies(x.detach(), grad),
    }
    if compiled:
        candidates[F_PRELU_COMPILED] = _passes(_compiled(_stock_prelu), (x, slope), grad)
    return candidates


def batch_norm_candidates(size: Size, layout: str, dtype: str, residual: str, *, compiled: bool) -> dict[str, ByPass]:
    """Return BatchNorm in training, then ReLU or PReLU: PyTorch's in separate operations, and slopewise's fused one.

    The last one copies and adds tensors of the same size, as for PReLU alone: five passes over memory. The fused layer
    needs eight by count, eleven with a residual, the stock pair thirteen.

    Args:
        size: Size of the input, (N, C, H, W).
        layout: Key of `LAYOUTS`.
        dtype: Key of `DTYPES`.
        residual: Either "residual added", where a tensor of the input's size is added in place before the activation,
            as in torchvision's ResNets, or "no residual".
        compiled: If True, PyTorch's BatchNorm and PReLU are also compiled with torch.compile.
    """
    x, other, grad = _tensors(3, size, layout, dtype)
    slope = torch.full((size[1],), 0.25, dtype=x.dtype, requires_grad=True)
    scale, shift = torch.ones_like(slope), torch.zeros_like(slope)
    added = (other,) if residual == "residual added" else ()
    inputs = tuple(tensor.requires_grad_() for tensor in (x, scale, shift, *added))

    def pair(activation: Callable[[Tensor], Tensor]) -> _Function:
        running = torch.zeros_like(scale), torch.ones_like(scale)  # each candidate updates its own

        def function(x: Tensor, scale: Tensor, shift: Tensor, *added: Tensor) -> Tensor:
            y = F.batch_norm(x, *running, scale, shift, training=True)
            return activation(y.add_(*added) if added else y)

        return function

    def fused(low_memory: bool) -> _Function:
        running = torch.zeros_like(scale), torch.ones_like(scale)

        def function(x: Tensor, scale: Tensor, shift: Tensor, *added: Tensor) -> Tensor:
            options: dict[str, Any] = {"slope": slope, "training": True, "low_memory": low_memory}
            if added:
                return functional.batch_norm_add_prelu(x, *running, scale, shift, residual=added[0], **options)
            return functional.batch_norm_prelu(x, *running, scale, shift, **options)

        return function

    def then_prelu(y: Tensor) -> Tensor:
        return F.prelu(y, slope)

    candidates = {
        BN_RELU: _passes(pair(partial(F.relu, inplace=True)), inputs, grad),
        BN_PRELU: _passes(pair(then_prelu), inputs, grad, slope),
        BN_FUSED: _passes(fused(low_memory=False), inputs, grad, slope),
        BN_FUSED_LOW_MEMORY: _passes(fused(low_memory=True), inputs, grad, slope),
        COPY: _copies(x.detach(), grad),
    }
    if compiled:
        candidates[BN_PRELU_COMPILED] = _passes(_compiled(pair(then_prelu)), inputs, grad, slope)
    return candidates


def _stock_prelu(x: Tensor, slope: Tensor) -> Tensor:
    return F.prelu(x, slope)  # torch.compile takes Python functions, not built-in ones


def _tensors(count: int, size: Size, layout: str, dtype: str) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    numbers = (torch.randn(size, generator=generator) for _ in range(count))
    return [tensor.to(DTYPES[dtype], memory_format=LAYOUTS[layout]) for tensor in numbers]


def _passes(function: _Function, inputs: tuple[Tensor, ...], grad: Tensor, *parameters: Tensor) -> ByPass:
    """Return the three passes of a function; it holds `parameters` itself, which get gradients like the inputs."""
    differentiated = (*inputs, *parameters)
    # Built before its first backward pass: a forward pass in between may change running statistics that it has saved.
    graph = cache(lambda: function(*inputs))
    return {
        "forward": lambda: function(*inputs),
        "backward": lambda: torch.autograd.grad(graph(), differentiated, grad, retain_graph=True),
        "both": lambda: torch.autograd.grad(function(*inputs), differentiated, grad),
    }


def _copies(x: Tensor, grad: Tensor) -> ByPass:
    """Return passes with the least memory traffic possible, into memory that is already allocated: a lower bound.

    Forward reads the input and writes the output: one copy. Backward reads the input and the incoming gradient and
    writes the input's gradient: one sum of two tensors.
    """
    out = torch.empty_like(x)
    return {
        "forward": lambda: out.copy_(x),
        "backward": lambda: torch.add(x, grad, out=out),
        "both": lambda: (out.copy_(x), torch.add(x, grad, out=out)),
    }


def _compiled(function: _Function) -> _Function:
    torch.compiler.reset()  # compile each case afresh: an earlier case's shape must not make this one's dynamic
    return torch.compile(function, dynamic=False)
