"""Kaiming initialisation of a whole model, each layer with the gain of its neighbours in the forward pass."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from slopewise.errors import ModelError, nearest
from slopewise.init._moments import Use, passes
from slopewise.init._report import Initialisation, Layer
from slopewise.init._symbolic import symbolic
from slopewise.init._weights import draw_, fan, layers_of, names_of, reasons_to_leave, sums
from slopewise.trace import Inputs, trace_forward

Mode = Literal["fan_in", "fan_out"]
Distribution = Literal["normal", "uniform"]


def kaiming(
    model: nn.Module,
    example_inputs: Any = None,
    *,
    mode: Mode = "fan_in",
    distribution: Distribution = "normal",
    generator: torch.Generator | None = None,
) -> Initialisation:
    """Initialise all convolutions and linear layers of a model, in place, each for the slopes of its neighbours.

    Every layer's weights are drawn with mean 0 and the variance at which its output has second moment 1::

        Var[w] = 1 / Σ E[x²],   gain = sqrt(fan · Var[w])

    where the sum runs over the `fan` inputs of a unit. After an activation with slope a, E[x²] = ½(1 + a²), so that
    the gain is sqrt(2 / (1 + a²)); with slopes per channel the sum takes each channel's own. If no activation comes
    before a layer (but the model's input, a normalisation, another layer), the gain is 1. `docs/initialisation.md` has
    the rules for other operations. With ``mode="fan_out"`` the same holds for gradients, with the activation after the
    layer, and a fan that counts outputs.

    Biases become 0. Normalisation layers, slopes and everything else are not changed. Nor are layers with a frozen
    weight and layers that the forward pass does not call; the result lists them. Layers that share a weight get one
    initialisation, for the mean of their sums. The slopes are the model's current ones: initialise again after changing
    them.

    Args:
        model: Any model with activations, PReLU or others.
        example_inputs: A tensor, a tuple of positional arguments or a dict of keyword arguments, with which the model
            is run in evaluation mode to record its graph. None traces it with torch.fx instead, without shapes.
        mode: Scale to preserve: "fan_in" that of values in the forward pass, "fan_out" that of gradients in the
            backward pass.
        distribution: Distribution of the weights: "normal", or "uniform" with the same variance.
        generator: Random number generator, on its own device; None is PyTorch's global one.

    Returns:
        An `Initialisation`, which lists each layer with its neighbours, gain and standard deviation.

    Raises:
        ValueError: `mode` or `distribution` is unknown.
        ModelError: there is nothing to initialise, a layer is lazy or on the meta device, torch.fx cannot trace the
            model, or the second moment of a layer's input (with fan_out, of its gradient) is 0 or not finite.

    Source: He et al. 2015, equations 14 and 15, https://arxiv.org/abs/1502.01852.

    Example:
        >>> model = nn.Sequential(nn.Linear(8, 16), nn.PReLU(16), nn.Linear(16, 4), nn.ReLU(), nn.Linear(4, 2))
        >>> print(kaiming(model))
        3 layers initialised, normal, fan_in
        <BLANKLINE>
        layer  kind    fed by     fan  gain   std
        ─────  ──────  ─────────  ───  ─────  ──────
        0      Linear  the input  8    1      0.3536
        2      Linear  1 (PReLU)  16   1.372  0.343
        4      Linear  3 (ReLU)   4    1.414  0.7071
    """
    for name, value, known in (("mode", mode, Mode), ("distribution", distribution, Distribution)):
        if value not in get_args(known):
            raise ValueError(f"unknown {name}={value!r}; {nearest(str(value), get_args(known))}")
    names = layers_of(model)
    flow = (
        symbolic(model) if example_inputs is None else trace_forward(model, Inputs.of(example_inputs), training=False)
    )
    propagation = passes(flow, names_of(model))
    reasons = reasons_to_leave(model, names, propagation.uses)
    # Everything is known before the first weight changes: an error leaves the model as it was.
    stds: list[tuple[list[nn.Module], Tensor]] = []
    for sharers in _by_weight([layer for layer in propagation.uses if layer in names and names[layer] not in reasons]):
        terms = torch.stack([_terms(layer, propagation.uses[layer], mode) for layer in sharers]).mean(0)
        if not bool((terms > 0).all() and terms.isfinite().all()):
            raise ModelError(
                f"what '{names[sharers[0]]}' adds up has second moments with the sum {float(terms.min()):g}, and no "
                "scale of its weights makes 1 of that: look for slopes that are NaN and for what multiplies by 0"
            )
        stds.append((sharers, terms.rsqrt()))
    for sharers, std in stds:
        for layer in sharers[::-1]:  # each draw replaces the last; biases are each layer's own
            draw_(layer, std, distribution, generator)
    entries = {
        layer: _entry(layer, names, propagation.uses[layer], sharers, std, mode)
        for sharers, std in stds
        for layer in sharers
    }
    return Initialisation(
        tuple(entries[layer] for layer in propagation.uses if layer in entries),
        tuple(reasons.items()),
        mode,
        distribution,
        propagation.unknown,
    )


def _by_weight(layers: Sequence[nn.Module]) -> list[list[nn.Module]]:
    """Group the layers that share a weight."""
    groups: defaultdict[int, list[nn.Module]] = defaultdict(list)
    for layer in layers:
        groups[id(layer if parametrize.is_parametrized(layer, "weight") else layer.weight)].append(layer)
    return list(groups.values())


def _terms(layer: nn.Module, uses: Sequence[Use], mode: Mode) -> Tensor:
    """Return Σ E[x²] for each group, averaged over the layer's calls."""
    forward = mode == "fan_in"
    return torch.stack([sums(layer, use.square if forward else use.gradient, forward=forward) for use in uses]).mean(0)


def _entry(
    layer: nn.Module,
    names: dict[nn.Module, str],
    uses: Sequence[Use],
    sharers: Sequence[nn.Module],
    std: Tensor,
    mode: Mode,
) -> Layer:
    notes = []
    if all(use.normalised for use in uses):
        notes.append("its scale has no effect: what it gives is normalised")
    if len(uses) > 1:
        notes.append(f"called {len(uses)} times, initialised for the mean")
    if len(sharers) > 1:
        notes.append(f"its weight is also that of {', '.join(names[e] for e in sharers if e is not layer)}")
    terms = fan(layer, forward=mode == "fan_in")
    neighbours = dict.fromkeys(name for use in uses for name in (use.before if mode == "fan_in" else use.after))
    ends = float(std.min()), float(std.max())
    return Layer(
        names[layer],
        type(layer).__name__,
        tuple(neighbours),
        terms,
        (ends[0] * terms**0.5, ends[1] * terms**0.5),
        ends,
        tuple(notes),
    )
