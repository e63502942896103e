"""Which calls the compiled kernels take."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd import forward_ad

from slopewise.ops._loading import state

KERNEL_DTYPES = frozenset({torch.float32, torch.bfloat16, torch.float64})
_PLAIN = frozenset({Tensor, torch.nn.Parameter})


def kernels_take(input: Tensor, smallest: int) -> bool:  # noqa: A002 (PyTorch's name)
    """Whether the kernels are loaded and `input` is theirs: on the CPU, of their dtypes, no smaller than pays.

    torch.func's transforms and forward-mode differentiation go through PyTorch's own operations, compiled or not, and
    so does whatever else interprets the call.
    """
    return (
        state.enabled
        and input.is_cpu
        and input.dtype in KERNEL_DTYPES
        and input.layout is torch.strided
        and not torch._C._are_functorch_transforms_active()
        and not forward_mode()
        and (not torch.compiler.is_exporting() if torch.compiler.is_compiling() else _is_called_plainly(input))
        and input.numel() >= smallest  # last: a tracer must not be asked for a size
    )


def _is_called_plainly(input: Tensor) -> bool:  # noqa: A002
    """Whether no other system interprets the call.

    A tracer sees more in PyTorch's own operations than in one opaque operator, and subclasses of Tensor decide for
    themselves. torch.compile is no such system: on a CPU a graph with the operator in it runs faster than what inductor
    makes of its parts (measured by benchmarks/kernels.py), so that only export decomposes it.
    """
    return type(input) in _PLAIN and not torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]


def forward_mode() -> bool:
    """Return whether forward-mode differentiation goes on, by torch.func.jvp or within a dual level."""
    return forward_ad._current_level >= 0


def below_autograd() -> torch._C._AutoDispatchBelowAutograd:
    """A block whose operators skip the autograd layer: the caller is an autograd function, and records for them."""
    return torch._C._AutoDispatchBelowAutograd()
