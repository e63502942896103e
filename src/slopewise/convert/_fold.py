"""`fold`: a trained model with normalisation and settled slopes folded away for deployment, and measured."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from slopewise.convert._fold_norm import foldable
from slopewise.convert._folding import Folding, FoldStep, Kind
from slopewise.convert._measured import Measured, largest_change
from slopewise.convert._proof import Difference
from slopewise.convert._refusal import Refusal, StaysError
from slopewise.convert._settle import settle_
from slopewise.convert._wrappers import unwrapped
from slopewise.nn import BatchNormPReLU, BatchNormPReLU1d, BatchNormPReLU2d, BatchNormPReLU3d, Pair
from slopewise.trace import Inputs, trace_forward

_FUSED = (BatchNormPReLU1d, BatchNormPReLU2d, BatchNormPReLU3d)


def fold(
    model: nn.Module,
    example_inputs: Any,
    *,
    tolerance: float = 1e-4,
    batch_norm: bool = True,
    slopes: bool = True,
) -> Folding:
    """Simplify a trained model for deployment, and measure how much each step changes its outputs.

    There are three steps, each of which goes through the layers one by one:

    1. Fused layers are split, so that only layers of PyTorch are left.
    2. Batch normalisation, which in evaluation mode is γ·(x − μ)/√(σ² + ε) + β with fixed numbers, is folded into the
       convolution or linear layer before it, wherever nothing else needs that layer's output. So is any other module
       that is recognised, and measured, to compute s·x + t with fixed numbers for each channel (FrozenBatchNorm2d,
       LayerScale).
    3. A PReLU whose slopes have settled becomes a `torch.nn.ReLU`, `LeakyReLU` or `Identity`. Slopes have settled if
       they are all equal, or all within 0.01 of 0, within 0.05 of 1 or within 0.01 of their mean, provided that all
       such replacements together change the outputs on the example by no more than the tolerance. Those that change
       least come first. Slopes below 0 or above 1 become no LeakyReLU.

    Folding is exact to rounding. A layer stays if folding it changes the outputs by more than half the digits of the
    model's dtype, or if the model does not run without it. The model is run once for each layer, and up to six times
    for each PReLU.

    The model given is not changed. The folded one is in evaluation mode. It keeps its class, attributes, device, dtype,
    hooks and `requires_grad`, but cannot be trained further as if it still had its normalisation.

    Args:
        model: Trained model of any class. The wrappers of torch.compile and DataParallel are looked through.
        example_inputs: Tensor, tuple of positional arguments or dict of keyword arguments. Changes are measured on it,
            so pass a batch of real data.
        tolerance: Largest relative change of an output by settled slopes, max|y' − y| / max|y| for each output tensor
            y. The default is 10 to 200 times the change of folding by rounding in float32, and a fifth of the change
            that one rounding to float16 can make. 0 settles only slopes that change no bit of an output.
        batch_norm: If True, normalisation is folded.
        slopes: If True, settled slopes are replaced.

    Returns:
        A `Folding`: `.model`, `.steps`, `.skipped`, `.changes`; printing it shows a table.

    Raises:
        ConversionError: The model does not run on the example in evaluation mode, returns no tensor, has no values
            (meta device), or is wrapped for DistributedDataParallel or FSDP.
        ValueError: The tolerance is negative or not finite.
        TypeError: The model is no module.

    Source: Jacob et al. 2018, section 3.2, https://arxiv.org/abs/1712.05877, for folding batch normalisation.

    Example:
        >>> import torch
        >>> from slopewise import PReLU
        >>> net = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), PReLU(8, init=0.0), nn.Flatten())
        >>> folding = fold(net, torch.randn(2, 3, 8, 8))
        >>> folding.model
        Sequential(
          (0): Conv2d(3, 8, kernel_size=(3, 3), stride=(1, 1))
          (1): Identity()
          (2): ReLU()
          (3): Flatten(start_dim=1, end_dim=-1)
        )
        >>> folding.removed, folding.changes["settle"].largest
        (16, 0.0)
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    if isinstance(tolerance, bool) or not isinstance(tolerance, (int, float)) or not 0 <= tolerance < math.inf:
        raise ValueError(f"tolerance must be a number from 0 on, relative to the largest output, got {tolerance!r}")
    wrapped = unwrapped(model)
    measured = Measured(wrapped.inner, Inputs.of(example_inputs))
    given, count = measured.outputs, measured.count()
    steps: list[FoldStep] = []
    skipped: list[Refusal] = []
    changes: dict[Kind, Difference] = {}

    def done(kind: Kind, before: list[Tensor], result: tuple[list[FoldStep], list[Refusal]]) -> None:
        steps.extend(result[0])
        skipped.extend(result[1])
        changes[kind] = largest_change(before, measured.outputs)

    done("unfuse", measured.outputs, _unfuse_(measured, max(tolerance, measured.rounding)))
    if batch_norm:
        done("fold", measured.outputs, _fold_norms_(measured, max(tolerance, measured.rounding)))
    if slopes:
        flow = trace_forward(measured.model, measured.inputs, training=False)
        done("settle", measured.outputs, settle_(measured, flow, tolerance))
    return Folding(
        wrapped.around(measured.model),
        tuple(replace(step, name=wrapped.prefix + step.name) for step in steps),
        tuple(replace(refusal, name=wrapped.prefix + refusal.name) for refusal in skipped),
        changes,
        largest_change(given, measured.outputs),
        tolerance,
        count - measured.count(),
        wrapped.notes,
    )


def _unfuse_(measured: Measured, allowed: float) -> tuple[list[FoldStep], list[Refusal]]:
    """Replace every fused layer by its normalisation and PReLU."""
    steps, left = [], []
    for layer, (name, *_) in measured.names().items():
        if not isinstance(layer, BatchNormPReLU):
            continue
        kind, count = type(layer).__name__, measured.count()
        try:
            if type(layer) not in _FUSED:
                raise StaysError(f"a {kind} may compute something else than the layer that it is made from")
            pair = layer.unfuse()
            change = measured.attempt({layer: pair}, allowed)
        except StaysError as why:
            left.append(Refusal(name, kind, str(why)))
            continue
        parts = " + ".join(type(part).__name__ for part in pair)
        steps.append(FoldStep("unfuse", name, kind, parts, change, count - measured.count()))
    return steps, left


def _fold_norms_(measured: Measured, allowed: float) -> tuple[list[FoldStep], list[Refusal]]:
    """Fold normalisations into the layers before them, until none is left that directly follows a layer."""
    steps: list[FoldStep] = []
    failed: dict[nn.Module, Refusal] = {}
    more = True
    while more:
        names, more = measured.names(), False
        flow = trace_forward(measured.model, measured.inputs, training=False)
        candidates, left = foldable(measured.model, flow)
        for candidate in candidates:
            if candidate.norm in failed:
                continue
            name, kind, count = names[candidate.norm][0], type(candidate.norm).__name__, measured.count()
            changes: dict[nn.Module, nn.Module] = {}
            try:
                changes = candidate.changes()
                change = measured.attempt(changes, allowed)
            except StaysError as why:
                failed[candidate.norm] = Refusal(name, kind, str(why))
                continue
            into = f"part of {' and '.join(names[layer][0] for layer in candidate.layers)}"
            rest = [type(part).__name__ for part in changes[candidate.norm].children() if type(part) is not nn.Identity]
            steps.append(FoldStep("fold", name, kind, " + ".join((into, *rest)), change, count - measured.count()))
            more = True
    left += failed.values()
    with_residual = {call.module for call in flow.calls() if len(call.inputs) > 1}
    for pair in (module for module in names if isinstance(module, Pair) and module not in with_residual):
        if isinstance(pair[0], nn.Identity):  # only the activation is left of it
            measured.put({pair: pair[1]})
    return steps, left
