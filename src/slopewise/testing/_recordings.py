"""Recordings of runs that were never trained, for tests of sinks, pages and summaries."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from slopewise.monitor import (
    End,
    Header,
    LayerSample,
    Recording,
    Sample,
    SiteSample,
    SlopeSample,
    Thresholds,
)
from slopewise.recording.alarms import Facts, Judge
from slopewise.slopes import summarise

_STARTED = 1_750_000_000.0
_SECONDS_PER_STEP, _OVERHEAD = 0.02, 0.004  # the overhead is that of one sample
_SLOPES = {"channel": 16, "shared": 1, "stuck": 16}
_VALUES = 8192  # pre-activations per unit


@dataclass(frozen=True, slots=True)
class _Kind:
    """Behaviour of one layer of the network."""

    activation: str
    function: bool = False  # called as a function, which changes the name of its call site
    slopes: str = ""
    fate: str = ""


_KINDS = (
    _Kind("prelu", slopes="channel"),
    _Kind("relu", fate="dies"),
    _Kind("prelu", slopes="shared", fate="grows"),
    _Kind("gelu", function=True),
    _Kind("prelu", slopes="channel", fate="falls"),
    _Kind("prelu", slopes="stuck", fate="linear"),
    _Kind("relu", function=True),
    _Kind("prelu", slopes="channel"),
)


def synthetic_recording(
    layers: int = 6,
    samples: int = 20,
    *,
    every: int = 50,
    units: int = 16,
    slopes: bool = True,
    alarms: bool = True,
    finished: bool = True,
    diverged: bool = False,
    healthy: bool = False,
    prefix: str = "block",
    seed: int = 0,
) -> Recording:
    """Make a `Recording` with plausible unit states, slopes and gradients; nothing is trained.

    The first eight layers are PReLU with a slope per channel, a ReLU whose units die between 40 and 70 % of the run,
    PReLU with a shared slope that runs away above 1, GELU as a function, PReLU whose slopes fall below 0, PReLU whose
    slopes no optimizer moves and whose site turns linear, ReLU as a function, PReLU as at first. More layers repeat
    these activations, and stay well. Nothing before the first site learns. Gradients shrink from the last layer to the
    first.

    Args:
        layers: Number of linear layers, each with one call site behind it.
        samples: Number of sampled steps; the first is step 1.
        every: Steps from one sample to the next.
        units: Number of units of each call site.
        slopes: If False, LeakyReLU takes the place of PReLU.
        alarms: If False, no rule is applied.
        finished: If False, the run has no end yet.
        diverged: If True, the last sample has NaN in the shared slope's layer; needs three layers and `slopes`.
        healthy: If True, all layers stay well.
        prefix: Start of every name, as in "block3.act".
        seed: Seed of all the noise; the same arguments give the same recording.

    Example:
        >>> recording = synthetic_recording(layers=2)
        >>> recording.samples[-1].step, recording.samples[-1].sites[1].dead[:3]
        (951, (0, 1, 2))
        >>> [(alarm.id, alarm.where) for alarm in recording.alarms]
        [('dead-units', 'block1.act')]
    """
    rng = np.random.default_rng(seed)
    net = [_kind(index + len(_KINDS) * healthy, slopes) for index in range(layers)]
    names = [f"{prefix}{index}" for index in range(layers)]
    orders = [rng.permutation(units) for _ in net]  # in which units fall to their layer's fate
    steps = [1 + every * index for index in range(samples)]
    taken = tuple(
        _sample(net, names, orders, step, index, samples, rng, diverges=diverged and index == samples - 1)
        for index, step in enumerate(steps)
    )
    judge = Judge(Thresholds())
    raised = tuple(alarm for sample in taken for alarm in judge.see(sample, Facts())) if alarms else ()
    total = steps[-1] + every - 1 if steps else 0
    end = End(
        total,
        _SECONDS_PER_STEP * total + _OVERHEAD * samples,
        _OVERHEAD * samples,
        ("head.compiled: torch.compile hides what is inside",),
        "RuntimeError: loss is nan" if diverged else "",
    )
    return Recording(Header("SyntheticNet", every, _STARTED, "synthetic"), taken, raised, end if finished else None)


def _kind(index: int, slopes: bool) -> _Kind:
    kind = _KINDS[index % len(_KINDS)]
    if kind.slopes and not slopes:
        return _Kind("leaky_relu", fate="linear" if kind.fate == "linear" and index < len(_KINDS) else "")
    if index < len(_KINDS):
        return kind
    return _Kind(kind.activation, kind.function, kind.slopes.replace("stuck", "channel"))


def _sample(
    net: list[_Kind],
    names: list[str],
    orders: list[NDArray[np.int64]],
    step: int,
    index: int,
    samples: int,
    rng: np.random.Generator,
    *,
    diverges: bool,
) -> Sample:
    time = index / max(samples - 1, 1)  # 0 to 1 over the run
    sites, slopes, layers = [], [], []
    for depth, (kind, name, order) in enumerate(zip(net, names, orders, strict=True)):
        nan = diverges and kind.fate == "grows"
        sites.append(_site(kind, _site_name(kind, name), order, time, rng, learns=depth > 0, nan=nan))
        if kind.slopes:
            slopes.append(_slopes(kind, f"{name}.act", depth, time, index, rng, nan=nan))
        layers.append(_layer(f"{name}.conv", (depth + 1) / len(net), time, rng, learns=depth > 0, nan=nan))
    return Sample(step, 1, tuple(sites), tuple(slopes), tuple(layers), _OVERHEAD)


def _site_name(kind: _Kind, name: str) -> str:
    return f"{name}.{kind.activation}()" if kind.function else f"{name}.act"


def _site(
    kind: _Kind, site: str, order: NDArray[np.int64], time: float, rng: np.random.Generator, *, learns: bool, nan: bool
) -> SiteSample:
    units = len(order)
    ramp = min(1.0, max(0.0, time - 0.4) / 0.3)  # 0 up to 40 % of the run, 1 from 70 % on
    fallen = tuple(sorted(order[: round(0.7 * units * ramp)].tolist())) if kind.fate == "dies" else ()
    linear = tuple(sorted(order[: round(units * ramp)].tolist())) if kind.fate == "linear" else ()
    # A PReLU unit can be negative everywhere and still learn; here one in sixteen is.
    negative = tuple(order[: units // 16].tolist()) if kind.slopes and kind.fate != "linear" else fallen
    return SiteSample(
        site=site,
        activation=kind.activation,
        units=units,
        values=_VALUES,
        positive=float(
            np.clip(0.5 - 0.5 * len(fallen) / units + 0.5 * len(linear) / units + 0.02 * rng.standard_normal(), 0, 1)
        ),
        never_positive=negative,
        always_positive=linear,
        zero_gradient=fallen if learns else None,
        pass_through=math.sqrt(0.5 * (1 - len(fallen) / units) + 0.5 * len(linear) / units) if learns else None,
        not_finite=tuple(range(units)) if nan else (),
    )


def _slopes(
    kind: _Kind, layer: str, depth: int, time: float, index: int, rng: np.random.Generator, *, nan: bool
) -> SlopeSample:
    targets = {"grows": 0.25 + 1.6 * time**3, "falls": 0.25 - 0.5 * time}
    middle = targets.get(kind.fate, 0.25 + (0.6 / (1 + depth % 8) - 0.25) * time)
    count = _SLOPES[kind.slopes]
    values = middle + (0.25 * time * np.linspace(-1, 1, count) if count > 1 else np.zeros(1))
    moved = kind.slopes != "stuck"  # these are in no optimizer
    slopes = torch.from_numpy(np.full(count, np.nan) if nan else values if moved else np.full(count, 0.25))
    step = 0.08 * time**2 if kind.fate == "grows" else 4e-4
    noise = float(np.exp(0.2 * rng.standard_normal()))
    return SlopeSample(
        layer=layer,
        summary=summarise(slopes),
        gradient=math.nan if nan else 0.02 * noise * (10 if count == 1 else 1),
        signal_to_noise=None if index < 2 else 0.6 * noise / (1 + depth % 8),
        update=math.nan if nan else step * noise if moved else None,
        update_ratio=math.nan if nan else 2 * step * noise if moved else None,
        against_weights=math.nan if nan else 2e3 * step * noise if moved else None,
        from_start=math.nan if nan else float(np.abs(values - 0.25).max()) if moved else 0.0,
    )


def _layer(layer: str, height: float, time: float, rng: np.random.Generator, *, learns: bool, nan: bool) -> LayerSample:
    """Return the sample of a layer; `height` is its place from input to output: gradients grow towards the output."""
    if not learns:
        return LayerSample(layer, None, 8.0, None)
    gradient = 0.5 * 10 ** (3 * (height - 1) - time) * float(np.exp(0.15 * rng.standard_normal()))
    if nan:
        return LayerSample(layer, math.nan, math.nan, math.nan, ("gradient", "weight"))
    return LayerSample(layer, gradient, 8.0 + time, 0.05 * gradient)
