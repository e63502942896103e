"""Measurements of one sampled step: plain, immutable data without tensors.

Fractions lie in 0..1. A value that does not exist, such as the gradient at a site through which none can flow, is None,
never NaN.
"""

from __future__ import annotations

from dataclasses import dataclass

from slopewise.recording._slope_summary import SlopeSummary

MOST_DROPPED = 20  # backward passes: a GradScaler halves its first scale, 2^16, down to 1 in fewer


@dataclass(frozen=True, slots=True)
class SiteSample:
    """One call site of an activation, over all counted forward and backward passes of one step.

    z is the pre-activation and y = f(z). A unit is a channel of z, or a feature after a linear layer. The definitions
    are the same for every activation.

    Attributes:
        site: Name of the module that applies the activation. For a function, the calling module and the function:
            "block.relu()". From the second call in a forward pass on, with the number of the call: "block.relu (2)".
        activation: Name of PyTorch's function for it.
        units: Number of units.
        values: Number of pre-activations seen of each unit.
        positive: Fraction of all pre-activations that are above 0.
        never_positive: Units with z ≤ 0 everywhere. Such a unit is dead with ReLU, and linear with PReLU. A unit with a
            NaN, which is neither positive nor not, is not among them.
        always_positive: Units with z > 0 everywhere: f is the identity there.
        zero_gradient: Units with dL/dz = 0 everywhere, so that no gradient reached their incoming weights. None where
            no gradient can flow, because nothing before the site learns, or where none was seen (see `Monitor.notes`).
        pass_through: ‖dL/dz‖₂ / ‖dL/dy‖₂, of the gradient through this site alone: 1 for the identity, 0 for a site
            whose units are all dead; None without a gradient.
        not_finite: Units with a z that is NaN or infinite.
    """

    site: str
    activation: str
    units: int
    values: int
    positive: float
    never_positive: tuple[int, ...]
    always_positive: tuple[int, ...]
    zero_gradient: tuple[int, ...] | None
    pass_through: float | None
    not_finite: tuple[int, ...] = ()

    @property
    def dead(self) -> tuple[int, ...]:
        """Units that are never positive and get no gradient."""
        never_positive = set(self.never_positive)
        return tuple(unit for unit in self.zero_gradient or () if unit in never_positive)


@dataclass(frozen=True, slots=True)
class SlopeSample:
    """Learned slopes a of one layer in one step.

    Attributes:
        layer: Name of the module that holds the slopes.
        summary: Summary of the slopes after the step.
        gradient: ‖dL/da‖₂ as the optimizer saw it; None without a gradient.
        signal_to_noise: Median over the slopes of |mean| / standard deviation of dL/da over the latest samples; None
            before the third sample. Below about 0.1 the slopes wander.
        update: Largest |Δa| of a slope in this step; None if no optimizer moved the slopes.
        update_ratio: ‖Δa‖₂ / ‖a‖₂; None if all slopes are 0.
        against_weights: Ratio of `update_ratio` to the same ratio of all the model's weights.
        from_start: Largest distance of a slope from its value when the monitor began; None if that is not known.
        furthest_before: Slope furthest from 0 before the step, of those that were finite; None if none was, or in
            recordings of earlier versions.
        not_finite_before: Number of slopes that were NaN or infinite before the step.
    """

    layer: str
    summary: SlopeSummary
    gradient: float | None
    signal_to_noise: float | None
    update: float | None
    update_ratio: float | None
    against_weights: float | None
    from_start: float | None
    furthest_before: float | None = None
    not_finite_before: int = 0


@dataclass(frozen=True, slots=True)
class LayerSample:
    """Parameters that one layer holds itself, slopes aside, in one step.

    Attributes:
        layer: Name of the layer.
        gradient: ‖g‖₂ as the optimizer saw it (clipped, unscaled, averaged over ranks); None without a gradient.
        weight: ‖w‖₂ before the step.
        update: ‖Δw‖₂; None if no optimizer moved the parameters.
        not_finite: Names among "gradient" and "weight" whose numbers include NaN or an infinity.
    """

    layer: str
    gradient: float | None
    weight: float | None
    update: float | None
    not_finite: tuple[str, ...] = ()

    @property
    def update_ratio(self) -> float | None:
        """‖Δw‖₂ / ‖w‖₂, often near 1e-3 in a network that trains well."""
        return self.update / self.weight if self.update is not None and self.weight else None


@dataclass(frozen=True, slots=True)
class Sample:
    """One sampled step.

    Attributes:
        step: Number of optimizer steps since the monitor began, including this one: 1, 2, ...
        passes: Number of counted forward passes; more than one under gradient accumulation.
        sites: Call sites of activations, in the order of the forward pass.
        slopes: Layers with learned slopes, in the model's order.
        layers: Layers with other parameters, in the model's order.
        seconds: Seconds that measuring took, on this process's clock.
        dropped: Number of backward passes whose gradients were not finite and were dropped before the step, as those of
            a step that a GradScaler skips.
    """

    step: int
    passes: int
    sites: tuple[SiteSample, ...]
    slopes: tuple[SlopeSample, ...]
    layers: tuple[LayerSample, ...]
    seconds: float = 0.0
    dropped: int = 0
