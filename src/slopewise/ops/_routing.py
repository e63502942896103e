"""The rules that send a call to the compiled kernels or to PyTorch's own operations."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from slopewise.ops._loading import state

KERNEL_DTYPES = frozenset({torch.float32, torch.bfloat16, torch.float64})
_PLAIN = frozenset({Tensor, torch.nn.Parameter})


def kernels_take(input: Tensor, smallest: int) -> bool:  # noqa: A002 (PyTorch's name)
    """Return True if the kernels are on and `input` is on the CPU, of their dtypes, with at least `smallest` elements.

    torch.func's transforms and forward-mode differentiation use PyTorch's own operations, compiled or not, and so does
    everything else that interprets the call.
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


def may_keep_output(input: Tensor, low_memory: bool | None, *, kernels: bool) -> bool:  # noqa: A002
    """Return True if a call is to keep its output where its values allow that.

    With None it keeps its output where that costs no time. On a CPU it costs time unless a kernel takes the call: with
    PyTorch's operations a step of a fused ResNet-20 took 1.16 (NCHW) to 1.26 times (channels_last) as long as with its
    inputs kept. Other devices have less memory to spare.
    """
    return kernels or not input.is_cpu if low_memory is None else low_memory


def is_eager(input: Tensor) -> bool:  # noqa: A002
    """Return True if a call is run as it is: not compiled, transformed or interpreted by another system."""
    return (
        input.layout is torch.strided
        and not torch.compiler.is_compiling()
        and not torch._C._are_functorch_transforms_active()
        and not forward_mode()
        and _is_called_plainly(input)
    )


def _is_called_plainly(input: Tensor) -> bool:  # noqa: A002
    """Return True if no other system interprets the call.

    A tracer can make more of PyTorch's own operations than of one opaque operator, and subclasses of Tensor have rules
    of their own. torch.compile does not count: on a CPU a graph with the operator in it runs faster than the code that
    inductor generates for its parts (measured by benchmarks/kernels.py), so that only export decomposes it.
    """
    return type(input) in _PLAIN and not torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]


def forward_mode() -> bool:
    """Return True during forward-mode differentiation, by torch.func.jvp or within a dual level."""
    return forward_ad._current_level >= 0


def below_autograd() -> torch._C._AutoDispatchBelowAutograd:
    """Return a context in which operators skip the autograd layer, for autograd functions that record for them."""
    return torch._C._AutoDispatchBelowAutograd()


def autocast_dtype(input: Tensor) -> torch.dtype | None:  # noqa: A002
    """Return the dtype to which autocast casts on the input's device; None if autocast is off."""
    device = input.device.type
    if torch.amp.autocast_mode.is_autocast_available(device) and torch.is_autocast_enabled(device):
        return torch.get_autocast_dtype(device)
    return None


def saved(ctx: Any) -> tuple[Any, ...]:
    """Return the tensors that an autograd function saved; `ctx.inverted` says if its output is the first of them.

    Raises:
        RuntimeError: One was changed in place. If it is the output, the error says that the layer kept it.
    """
    try:
        return ctx.saved_tensors  # type: ignore[no-any-return]
    except RuntimeError as error:
        if not ctx.inverted or "modified by an inplace operation" not in str(error):
            raise
        raise RuntimeError(
            f"{error}\nA PReLU or fused layer with low_memory keeps its output, which the network must not change in "
            "place: set low_memory=False on the layer, or change the output out of place."
        ) from error
