"""Layers whose outputs the network changes in place, so that these cannot be kept for the backward pass."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import ExitStack
from typing import Any

from torch import Tensor, nn

from slopewise.convert._proof import run
from slopewise.nn import BatchNormPReLU, PReLU
from slopewise.trace import Inputs


def overwritten(
    model: nn.Module, layers: Collection[nn.Module], inputs: Inputs, modes: Sequence[str]
) -> list[PReLU | BatchNormPReLU]:
    """Return the layers with low memory whose outputs a pass through the model changes in place after their call.

    A ReLU keeps its output as well, so that code written for ReLUs seldom does this; code around a LeakyReLU, a PReLU
    or a GELU may, and its backward pass would fail. If the model does not run with gradients, no layer can be cleared,
    and all are returned.

    Args:
        model: Converted model.
        layers: Modules at its converted sites.
        inputs: Inputs on which it is run.
        modes: Modes to run it in, out of "training" and "evaluation".
    """
    parts = dict.fromkeys(part for layer in layers for part in layer.modules())
    candidates = [part for part in parts if isinstance(part, PReLU | BatchNormPReLU) and part.low_memory is not False]
    if not candidates:
        return []
    seen: list[tuple[nn.Module, Tensor, int]] = []

    def see(module: nn.Module, _: Any, output: Tensor) -> None:
        # `_version` counts changes in place, and views share it: the counter by which autograd itself detects them.
        # PyTorch has no public name for it.
        seen.append((module, output, output._version))

    with ExitStack() as hooks:
        for module in candidates:
            # First among the hooks, since a hook of the user's may change the output.
            hooks.callback(module.register_forward_hook(see, prepend=True).remove)
        try:
            for mode in modes:
                run(model, inputs, mode, gradients=True)
        except Exception:  # a user's model can raise anything; the proof, which comes next, reports it
            return candidates
    changed = {module for module, output, version in seen if output._version != version}
    return [module for module in candidates if module in changed]
