"""What the compiled kernels save: an arm's training step with them and with PyTorch's own operations, in turn.

It comes after a trial and on a network of its own, so that the trial's records are bitwise what they are without it.
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

_ROUNDS = 30
_TURN = 0.01  # seconds that a turn lasts at least: several steps where they are short
_BUDGET = 1.2  # seconds after which no further round begins; three are taken in any case


def holds_our_layers(model: nn.Module) -> bool:
    """Whether slopewise's operators have a part in the model.

    Example:
        >>> holds_our_layers(nn.Sequential(PReLU())), holds_our_layers(nn.Sequential(nn.PReLU()))
        (True, False)
    """
    return any(isinstance(module, (PReLU, BatchNormPReLU)) for module in model.modules())


def why_not_compared(device: str, devices: int) -> str | None:
    """Why trials on `devices` devices of that type have nothing to compare; None where they have.

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
    """Time steps of a training with the kernels and with PyTorch's own operations, turn by turn.

    With one thread it is the processor's time that counts, which waits for no other process: on a machine with more
    processes than cores, ratios by the clock scattered five times as far. The state of torch's CPU generator is left
    as it was.

    Args:
        training: begins a training that goes nowhere; each item taken from it is a step.
        threads: torch threads that a step has.
        why_not: the reason, where there is nothing to compare.
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
    except Exception as error:  # a user's model can raise anything, and its trial is over and well
        return OperatorCostRecord(0, reason=f"the comparison raised {describe(error)}")
    found = ratio(seconds["stock"], seconds["kernels"])
    return OperatorCostRecord(
        rounds=len(seconds["stock"]),
        kernels_seconds=median(seconds["kernels"]),
        stock_seconds=median(seconds["stock"]),
        stock_ratio_q1=found.low,
        stock_ratio=found.median,
        stock_ratio_q3=found.high,
    )
