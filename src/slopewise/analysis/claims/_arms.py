"""The arms of a study by what they are: activation, slopes, start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from slopewise.records import StudyRecord

_INIT, _LEAK, _FROZEN = 0.25, 0.01, 0.25  # defaults of prelu_shared and prelu_channel, leaky_relu, frozen_slope
_SHARED, _CHANNEL = ("prelu_shared", "prelu_shared_0"), ("prelu_channel", "prelu_channel_0")


@dataclass(frozen=True, slots=True)
class Arm:
    """One arm of a study's spec, with the settings of [train] where it has none of its own.

    Attributes:
        options: Keyword arguments of the activation.
        lr: Learning rate of its own, if it has one.
        slope_rate: Learning rate of the slopes relative to the weights'.
        slope_decay: Weight decay of the slopes.
        epochs: Number of epochs of its own, if it has one.
        start: Name of the arm whose trained weights or slopes it starts from.
        take: Part of that arm that it takes: "weights" or "slopes".
        sloped: True if it has slopes as parameters, learned or not.
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
        """True if it learns slopes."""
        return self.sloped and self.slope_rate > 0

    @property
    def shared(self) -> bool:
        """True if a layer has one slope."""
        return self.activation in _SHARED

    @property
    def per_channel(self) -> bool:
        """True if a channel has a slope of its own."""
        return self.activation in _CHANNEL

    @property
    def init(self) -> float | None:
        """Slope before training; None for an activation whose options say nothing of it."""
        if self.activation.endswith("_0") and self.sloped:
            return 0.0
        return number(self.options.get("init", _INIT)) if self.shared or self.per_channel else None

    @property
    def frozen_at(self) -> float | None:
        """Fixed slope; None if slopes are learned, were taken from another arm, or do not exist."""
        if self.activation == "leaky_relu":
            return number(self.options.get("negative_slope", _LEAK))
        if self.activation == "frozen_slope":
            return number(self.options.get("slope", _FROZEN))
        return self.init if self.sloped and not self.learned and self.start is None else None

    @property
    def bounds(self) -> tuple[float, float] | None:
        """Bounds of the slopes."""
        bounds = self.options.get("bounds")
        if not isinstance(bounds, (list, tuple)) or len(bounds) != 2:
            return None
        low, high = (number(each) for each in bounds)
        return None if low is None or high is None else (low, high)

    @property
    def fresh(self) -> bool:
        """True if it starts from random weights, or from the study's checkpoint, as the control does."""
        return self.start is None


def arms_of(study: StudyRecord) -> dict[str, Arm]:
    """Return the arms by name; none for a table, which does not say what its arms are."""
    train = study.spec.get("train") or {}
    learning = {trial.arm for trial in study.trials if trial.slope_parameters}
    arms = {}
    for table in study.spec.get("arms") or ():
        if not isinstance(table, Mapping) or table.get("name") not in study.arms:
            continue
        name, activation, start = table["name"], str(table.get("activation", "")), table.get("start") or {}
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
    """Return the ReLU arm: the control if it is one, else the first; failing both, the network's own activations."""
    arms = [arm for arm in arms_of(study).values() if arm.fresh]
    arms.sort(key=lambda arm: arm.name != study.control)
    for activation in ("relu", "as_is"):
        if found := next((arm for arm in arms if arm.activation == activation), None):
            return found
    return None


def relu_cautions(relu: Arm) -> tuple[str, ...]:
    """Return a caution if the ReLU arm is only taken to be one."""
    return (f"{relu.name} is taken for ReLU: it has the network's own activations",) * (relu.activation == "as_is")


def learned_arms(study: StudyRecord) -> list[Arm]:
    """Return the arms that stand for PReLU: they learn slopes, start as others do, and are trained as others are."""
    decay = number((study.spec.get("train") or {}).get("slope_weight_decay")) or 0.0
    arms = (arm for arm in arms_of(study).values() if arm.learned and arm.fresh)
    return [arm for arm in arms if arm.slope_decay == decay and arm.epochs is None]


def number(value: Any) -> float | None:
    """Return a number as a float, and None for anything else."""
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _setting(key: str, arm: Mapping[str, Any], train: Mapping[str, Any], default: float) -> float:
    own, common = number(arm.get(key)), number(train.get(key))
    return own if own is not None else common if common is not None else default
