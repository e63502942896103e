"""What one sampled step left behind: plain, immutable records, without tensors.

Shares are in 0..1. A value that does not exist (the gradient at a site through which none can flow) is None, never NaN.
"""

from __future__ import annotations

from dataclasses import dataclass

from slopewise.recording._slope_summary import SlopeSummary


@dataclass(frozen=True, slots=True)
class SiteSample:
    """One call site of an activation, over all counted forward and backward passes of one step.

    z is the pre-activation, y = f(z), and a unit a channel of z (a feature after a linear layer). All is defined the
    same for every activation.

    Attributes:
        site: the module that applies the activation; for a function the module that calls it, and the function:
            "block.relu()". From the second call in a forward pass on with its number: "block.relu (2)".
        activation: as PyTorch's function is called.
        units: how many the site has.
        values: pre-activations that were seen of each unit.
        positive: share of them that are above 0, over all units.
        never_positive: units with z ≤ 0 everywhere. A ReLU's is then dead, a PReLU's linear. One NaN, which is neither
            positive nor not, and nothing of the kind is known of a unit.
        always_positive: units with z > 0 everywhere: f is the identity there.
        zero_gradient: units with dL/dz = 0 everywhere, so that no gradient reached their incoming weights; None where
            no gradient can flow, since nothing before the site learns, or none was seen (`Monitor.notes` says so).
        pass_through: ‖dL/dz‖₂ / ‖dL/dy‖₂, of the gradient through this site alone: 1 for the identity, 0 for a site
            whose units are all dead; None without a gradient.
        not_finite: units in which some z is NaN or infinite.
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
        reached = set(self.never_positive)
        return tuple(unit for unit in self.zero_gradient or () if unit in reached)


@dataclass(frozen=True, slots=True)
class SlopeSample:
    """The learned slopes of one layer in one step; `summary` is of their values after it.

    Attributes:
        layer: the module that holds them.
        summary: quartiles, mean, ends, and how many are negative, near 0, near 1, above 1.
        gradient: ‖dL/da‖₂ as the optimizer saw it.
        signal_to_noise: |mean| / standard deviation of dL/da over the latest samples, the median over the slopes; None
            before the third sample. Below about 0.1 the slopes wander.
        update: largest |Δa| of a slope in this step.
        update_ratio: ‖Δa‖₂ / ‖a‖₂; None where all slopes are 0.
        against_weights: `update_ratio` over the same ratio of all the model's weights.
        from_start: largest distance of a slope from where it was when the monitor began.
    """

    layer: str
    summary: SlopeSummary
    gradient: float | None
    signal_to_noise: float | None
    update: float | None
    update_ratio: float | None
    against_weights: float | None
    from_start: float | None


@dataclass(frozen=True, slots=True)
class LayerSample:
    """The parameters that one layer holds itself, slopes aside, in one step.

    Attributes:
        layer: its name.
        gradient: ‖g‖₂ as the optimizer saw it (clipped, unscaled, averaged over ranks); None where it has none.
        weight: ‖w‖₂ before the step.
        update: ‖Δw‖₂; None where no optimizer moved it.
        not_finite: "gradient" or "weight" where these hold NaN or infinite numbers.
    """

    layer: str
    gradient: float | None
    weight: float | None
    update: float | None
    not_finite: tuple[str, ...] = ()

    @property
    def update_ratio(self) -> float | None:
        """‖Δw‖₂ / ‖w‖₂, often near 1e-3 in a net that trains well."""
        return self.update / self.weight if self.update is not None and self.weight else None


@dataclass(frozen=True, slots=True)
class Sample:
    """One sampled step.

    Attributes:
        step: optimizer steps taken since the monitor began, this one included: 1, 2, ...
        passes: counted forward passes in it; more than one under gradient accumulation.
        sites: in the order of the forward pass.
        slopes: in the model's order.
        layers: likewise.
        seconds: what measuring it took, on this process's clock.
    """

    step: int
    passes: int
    sites: tuple[SiteSample, ...]
    slopes: tuple[SlopeSample, ...]
    layers: tuple[LayerSample, ...]
    seconds: float = 0.0
