"""Arms of a study, identified by activation, slopes and start instead of by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from slopewise.records import StudyRecord

_INIT, _LEAK, _FROZEN = 0.25, 0.01, 0.25  # defaults of prelu_shared and prelu_channel, leaky_relu, frozen_slope
_SHARED, _CHANNEL = ("prelu_shared", "prelu_shared_0"), ("prelu_channel", "prelu_channel_0")


@dataclass(frozen=True, slots=True)
class Arm:
    """One arm of a study's spec; settings that the arm does not override are those of [train].

    Attributes:
        options: Keyword arguments of the activation.
        lr: Learning rate set by the arm; None if it uses that of [train].
        slope_rate: Learning rate of the slopes divided by that of the weights.
        slope_decay: Weight decay of the slopes.
        epochs: Number of epochs set by the arm; None if it uses that of [train].
        start: Name of the arm whose trained weights or slopes this arm starts from; None for a fresh start.
        take: Part that is taken from that arm: "weights" or "slopes".
        sloped: True if the slopes are parameters, learned or not.
    """

    name: str
    activation: str
    options: Mapping[str, Any]
    lr: float | None
    slope_rate: float
    slope_decay: float
    epochs: float | None
    start: str | None
    take: str | None
    sloped: bool

    @property
    def learned(self) -> bool:
        """True if the slopes are learned."""
        return self.sloped and self.slope_rate > 0

    @property
    def shared(self) -> bool:
        """True if all channels of a layer share one slope."""
        return self.activation in _SHARED

    @property
    def per_channel(self) -> bool:
        """True if each channel has its own slope."""
        return self.activation in _CHANNEL

    @property
    def init(self) -> float | None:
        """Slope before training; None for an activation whose options do not set it."""
        if self.activation.endswith("_0") and self.sloped:
            return 0.0
        return number(self.options.get("init", _INIT)) if self.shared or self.per_channel else None

    @property
    def frozen_at(self) -> float | None:
        """Fixed slope; None if the slopes are learned or come from another arm, or if there are none."""
        if self.activation == "leaky_relu":
            return number(self.options.get("negative_slope", _LEAK))
        if self.activation == "frozen_slope":
            return number(self.options.get("slope", _FROZEN))
        return self.init if self.sloped and not self.learned and self.start is None else None

    @property
    def bounds(self) -> tuple[float, float] | None:
        """Lower and upper bound of the slopes; None if they are unbounded."""
        bounds = self.options.get("bounds")
        if not isinstance(bounds, (list, tuple)) or len(bounds) != 2:
            return None
        low, high = (number(bound) for bound in bounds)
        return None if low is None or high is None else (low, high)

    @property
    def fresh(self) -> bool:
        """True if training starts from the study's own initial weights, random or of its checkpoint."""
        return self.start is None


def arms_of(study: StudyRecord) -> dict[str, Arm]:
    """Return the arms by name; empty for an imported table of results, which does not describe its arms."""
    train = study.spec.get("train") or {}
    learning = {trial.arm for trial in study.trials if trial.slope_parameters}
    arms = {}
    for name, table in study.arm_tables.items():
        activation, start = str(table.get("activation", "")), table.get("start") or {}
        arms[name] = Arm(
            name=name,
            activation=activation,
            options=table.get("options") or {},
            lr=number(table.get("lr")),
            slope_rate=_setting("slope_lr_scale", table, train, 1.0),
            slope_decay=_setting("slope_weight_decay", table, train, 0.0),
            epochs=number(table.get("epochs")),
            start=start.get("arm"),
            take=start.get("take"),
            sloped=activation in (*_SHARED, *_CHANNEL) or (":" in activation and name in learning),
        )
    return arms


def relu_of(study: StudyRecord) -> Arm | None:
    """Return the ReLU arm: the control if it is one, else the first, else an `as_is` arm, else None."""
    arms = [arm for arm in arms_of(study).values() if arm.fresh]
    arms.sort(key=lambda arm: arm.name != study.control)
    for activation in ("relu", "as_is"):
        if match := next((arm for arm in arms if arm.activation == activation), None):
            return match
    return None


def relu_cautions(relu: Arm) -> tuple[str, ...]:
    """Return a caution if the ReLU arm is `as_is`, whose activations are only assumed to be ReLU."""
    return (f"{relu.name} is taken for ReLU: it has the network's own activations",) * (relu.activation == "as_is")


def learned_arms(study: StudyRecord) -> list[Arm]:
    """Return the arms that stand for PReLU: learned slopes, with start, epochs and slope decay of the study itself."""
    decay = number((study.spec.get("train") or {}).get("slope_weight_decay")) or 0.0
    arms = (arm for arm in arms_of(study).values() if arm.learned and arm.fresh)
    return [arm for arm in arms if arm.slope_decay == decay and arm.epochs is None]


def number(value: Any) -> float | None:
    """Return a number as a float; None for any other value, booleans included."""
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _setting(key: str, arm: Mapping[str, Any], train: Mapping[str, Any], default: float) -> float:
    own, common = number(arm.get(key)), number(train.get(key))
    return own if own is not None else common if common is not None else default
