"""Time saved by the compiled kernels: an arm's training step with them and with PyTorch's own operations, in turn.

The comparison runs after a trial and on a network of its own, so that it changes no bit of the trial's other records.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from statistics import median

import torch
from torch import nn

from slopewise import ops
from slopewise.nn import BatchNormPReLU, PReLU
from slopewise.records import OperatorCostRecord
from slopewise.study._references import describe
from slopewise.timing import interleaved, ratio

_ROUNDS = 20
_TURN = 0.005  # minimum seconds of a turn: several steps if they are short
_BUDGET = 1.2  # seconds after which no further round begins; three are made in any case


def holds_our_layers(model: nn.Module) -> bool:
    """Return True if the model has layers that use slopewise's operators.

    Example:
        >>> holds_our_layers(nn.Sequential(PReLU())), holds_our_layers(nn.Sequential(nn.PReLU()))
        (True, False)
    """
    return any(isinstance(module, (PReLU, BatchNormPReLU)) for module in model.modules())


def why_not_compared(device: str, devices: int) -> str | None:
    """Return the reason why a comparison is impossible on `devices` devices of that type; None if it is possible.

    Example:
        >>> why_not_compared("cuda", 1)
        'the trials ran on stock PyTorch, since the kernels are for CPUs, not for cuda'
    """
    backend = ops.backend()
    if device != "cpu":
        return f"the trials ran on stock PyTorch, since the kernels are for CPUs, not for {device}"
    if backend.name == "reference":
        return f"the trials ran on stock PyTorch, since {backend.reason}"
    return f"steps are timed on one device, and the trials had {devices}" if devices > 1 else None


def compare_operators(
    training: Callable[[], Iterator[object]], *, threads: int, why_not: str | None = None
) -> OperatorCostRecord:
    """Time training steps with the kernels and with PyTorch's own operations, turn by turn.

    With one thread, processor time is measured, which other processes do not affect: on a machine with more processes
    than cores, ratios of wall times scattered five times as far. The state of torch's CPU generator is restored.

    Args:
        training: Function that begins a training in which no weight moves; each item of its iterator is a step.
        threads: Number of torch threads of a step.
        why_not: Reason why there is nothing to compare; None makes the comparison.
    """
    if why_not:
        return OperatorCostRecord(0, reason=why_not)
    try:
        with torch.random.fork_rng(devices=[]):
            steps = training()
            seconds = interleaved(
                {"kernels": lambda: next(steps), "stock": ops.use_kernels(enabled=False)(lambda: next(steps))},
                rounds=_ROUNDS,
                sample=_TURN,
                budget=_BUDGET,
                clock=time.process_time if threads == 1 else time.perf_counter,
            )
    except Exception as error:  # a user's model can raise anything, and its trial has already finished
        return OperatorCostRecord(0, reason=f"the comparison raised {describe(error)}")
    stock_ratio = ratio(seconds["stock"], seconds["kernels"])
    return OperatorCostRecord(
        rounds=len(seconds["stock"]),
        kernels_seconds=median(seconds["kernels"]),
        stock_seconds=median(seconds["stock"]),
        stock_ratio_q1=stock_ratio.low,
        stock_ratio=stock_ratio.median,
        stock_ratio_q3=stock_ratio.high,
    )
