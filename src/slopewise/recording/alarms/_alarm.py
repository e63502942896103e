"""The alarms: their names, what to do about each, and the thresholds that a user can change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Literal, get_args

from slopewise.errors import nearest
from slopewise.recording._slope_summary import MOST, NEAR_0, NEAR_1
from slopewise.support import printable

AlarmId = Literal[
    "not-finite",
    "slope-uninitialised",
    "slope-runaway",
    "dead-units",
    "starved-gradient",
    "linear-site",
    "slope-decayed",
    "slope-tied",
    "slope-negative",
    "slope-above-1",
    "slope-near-0",
    "slope-near-1",
    "slope-stuck",
]
ALARM_IDS: tuple[AlarmId, ...] = get_args(AlarmId)  # the most serious first

ADVICE: Mapping[AlarmId, str] = {
    "not-finite": (
        "Look at the first place named: what comes after it is its echo. Lower the learning rate, clip gradients, and "
        "check the input for NaN."
    ),
    "slope-uninitialised": (
        "Load slopes, or call reset_parameters() of each PReLU: transformers' from_pretrained leaves those that a "
        "checkpoint lacks as memory happens to be."
    ),
    "slope-runaway": (
        "Lower the learning rate, or that of the slopes alone: param_groups(slope_lr_scale=0.1). A shared slope of "
        "torch.nn.PReLU sums its gradient over the layer; slopewise.PReLU(shared_gradient='mean') takes the mean."
    ),
    "dead-units": (
        "They seldom come back: only a change in the layers below can wake them. Lower the learning rate or warm it "
        "up, look at large negative biases, or give the units a negative slope: those of PReLU and LeakyReLU go on "
        "learning."
    ),
    "starved-gradient": (
        "The layers below learn next to nothing. Normalise, add shortcuts, or initialise with slopewise.init.kaiming; "
        "a larger negative slope passes more gradient."
    ),
    "linear-site": (
        "The activation bends nothing there: with the layers around it, it is one linear map. Look for an input of one "
        "sign (after a sigmoid or a softplus, say), and for large biases."
    ),
    "slope-decayed": (
        "Decay pulls slopes to 0, which is ReLU. Build the optimizer from slopewise.param_groups(model, ...)."
    ),
    "slope-tied": (
        "One PReLU at several places has one slope for all of them. Give each place a module of its own; "
        "slopewise.convert does that."
    ),
    "slope-negative": (
        "The function falls and then rises: two inputs give one output. If accuracy suffers, bound the slopes: "
        "PReLU(bounds=(0.0, 1.0))."
    ),
    "slope-above-1": (
        "Negative inputs are amplified, and with depth so are activations and gradients. Lower the slopes' learning "
        "rate, or bound them: PReLU(bounds=(0.0, 1.0))."
    ),
    "slope-near-0": (
        "The layer has become a ReLU; slopewise.fold can make it one. Check that the slopes take no weight decay."
    ),
    "slope-near-1": ("The layer has become linear; slopewise.fold can drop it. Two linear layers in a row are one."),
    "slope-stuck": (
        "Most often the optimizer does not hold the slopes, or no gradient reaches them: print "
        "slopewise.param_groups(model, ...) to see which slopes there are."
    ),
}


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Where each alarm begins. Pass a changed copy to `Monitor`.

    Attributes:
        patience: samples in a row in which the state of units, slopes and gradients must hold.
        values: pre-activations of each unit that these samples must have seen ("dead-units", "linear-site"): few values
            of one sign say little of a unit that is seldom of the other.
        dead: share of a site's units that are dead ("dead-units"). Some in a layer are ordinary with ReLU.
        linear: share of a site's units whose pre-activations all have one sign, where f is linear on that side
            ("linear-site").
        starved: gradient norm of a layer's weights, over their norm, in units of the median of all layers above it
            ("starved-gradient"). All layers from the input to the one named are below.
        runaway: move of a slope in one step ("slope-runaway").
        near_0: "slope-near-0" and "slope-negative": widths of the band that counts as 0.
        near_1: "slope-near-1" and "slope-above-1": of that which counts as 1.
        most: share of a layer's slopes from which on it is said of the layer.
        negative: likewise for "slope-negative".
        above_1: likewise for "slope-above-1".
        stuck: samples after which a slope that is exactly where it began is stuck ("slope-stuck").
        ignore: ids of alarms that are not raised at all.

    Raises:
        ValueError: a number is not above 0, or `ignore` names no alarm.

    Example:
        >>> Thresholds(dead=0.25, ignore=("slope-tied",)).dead
        0.25
    """

    patience: int = 3
    values: int = 500
    dead: float = 0.5
    linear: float = 0.9
    starved: float = 1e-4
    runaway: float = 0.06
    near_0: float = NEAR_0
    near_1: float = NEAR_1
    most: float = MOST
    negative: float = MOST
    above_1: float = MOST
    stuck: int = 5
    ignore: tuple[AlarmId, ...] = ()

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name != "ignore" and not value > 0:
                raise ValueError(f"threshold {field.name} must be above 0, got {value}")
        for name in (self.ignore,) if isinstance(self.ignore, str) else self.ignore:
            if name not in ALARM_IDS:
                raise ValueError(f"threshold ignore: no alarm is called '{name}'; {nearest(name, ALARM_IDS)}")


@dataclass(frozen=True, slots=True)
class Alarm:
    """Something that a person should look at.

    Attributes:
        id: its name.
        where: the call site or layer.
        step: at which it was raised.
        since: the first step at which what it says was so.
        evidence: the numbers behind it, in words.
    """

    id: AlarmId
    where: str
    step: int
    since: int
    evidence: str

    @property
    def advice(self) -> str:
        """What to do."""
        return ADVICE[self.id]

    @property
    def page(self) -> str:
        """The page about it, in slopewise's repository."""
        return f"docs/alarms/{self.id}.md"

    def __str__(self) -> str:
        since = "" if self.since == self.step else f", since step {self.since}"
        return printable(f"step {self.step}: {self.id} at {self.where}: {self.evidence}{since}")
