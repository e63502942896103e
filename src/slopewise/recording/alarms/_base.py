"""The contract of alarm rules: one rule, in one file, for each alarm.

A rule derives from the class of what it looks at, and sees nothing else of a sample:

| base class | judges, by itself | raised |
| --- | --- | --- |
| `SiteRule` | each call site of an activation | once for each call site |
| `SlopeRule` | the slopes of each layer | once for each layer |
| `LayerRule` | the other parameters of each layer | once for each layer |
| `RunRule` | the whole sample | once in a run |

Its class attributes say what the alarm is called, when it is raised, and what to do (see `AlarmRule`). Its fields are
its thresholds, made by `threshold`; subclasses are frozen dataclasses without being decorated. `judge` returns a
`Finding` as long as the condition of the alarm holds, and None otherwise. `Judge` raises the alarm at the first finding
of a place, so a rule does not remember what it has raised. What earlier samples showed is in `past`: a rule holds no
state, reads no clock and draws no random numbers, so that equal samples give equal alarms. The conditions of its
streaks are numbers, text, None, or tuples of those, so that a checkpoint of the training can hold them.

Fields of samples are documented in `slopewise.recording.Sample` and the classes that it holds, slopes as a whole in
`SlopeSummary`, past samples in `Past`. A figure that could not be measured is None, and may be NaN in a file: a rule
checks that first. "In a row" counts sampled steps, which are `every` steps apart. Ids of alarms about slopes begin with
"slope-".

A module in the folder `rules` is found by itself, and its thresholds become fields of `Thresholds`. Rules from
elsewhere are added by `register`. `slopewise.testing.check_alarm_rule` tells whether a rule keeps this contract.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Generic, Literal, NamedTuple, TypeVar, dataclass_transform

from slopewise.recording._sample import LayerSample, Sample, SiteSample, SlopeSample
from slopewise.recording._slope_summary import SlopeSummary
from slopewise.recording.alarms._past import Past

Subject = TypeVar("Subject")
Chart = Literal[
    "dead",
    "zero-gradient",
    "never-positive",
    "always-positive",
    "slopes",
    "distance",
    "signal",
    "slope-updates",
    "gradients",
    "pass-through",
    "updates",
]


class Finding(NamedTuple):
    """Judgement that the condition of an alarm holds at a place.

    Attributes:
        since: First step at which it held.
        evidence: Numbers behind it, in words on one line.
        where: Call site or layer that a `RunRule` blames; None in other rules, which judge one place at a time.
    """

    since: int
    evidence: str
    where: str | None = None


class Concerned(NamedTuple):
    """Judgement of a layer's slopes alone, as in a checkpoint.

    Attributes:
        slopes: Number of slopes that the alarm is about.
        value: Common value of these slopes, if the alarm is about having one; None otherwise.
    """

    slopes: int
    value: float | None = None


def threshold(default: float, meaning: str) -> Any:
    """Declare a field of a rule as a threshold: a number above 0.

    Args:
        default: Value in a rule, and in `Thresholds`, that does not say otherwise.
        meaning: Explanation for the documentation; a noun phrase.
    """
    return field(default=default, metadata={"meaning": meaning})


@dataclass_transform(frozen_default=True, kw_only_default=True)
@dataclass(frozen=True, kw_only=True)
class AlarmRule(ABC, Generic[Subject]):
    """Base of the four classes that rules derive from.

    Attributes:
        id: Name of the alarm: lower-case words and digits with hyphens between them.
        raised_when: Condition for the documentation, which completes "It is raised when"; thresholds in backticks.
        advice: Sentences that tell what to do.
        rank: Place among all alarms where these are listed: the lower, the more serious.
        charts: Charts of the watch page that mark the alarm, if it has any.
        setup: True if the rule judges how the run was set up, not what training did. Such an alarm comes first among
            those that one sample raises at one place.
        meaning: Explanation, for checkpoints, of an alarm that needs slopes alone; empty in other rules.
        subject: Class of what the rule judges, which the four classes set.

    Raises:
        ValueError: A threshold is not above 0.
    """

    id: ClassVar[str]
    raised_when: ClassVar[str]
    advice: ClassVar[str]
    rank: ClassVar[int] = 1000
    charts: ClassVar[tuple[Chart, ...]] = ()
    setup: ClassVar[bool] = False
    meaning: ClassVar[str] = ""
    subject: ClassVar[type[Any]]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        dataclass(frozen=True, kw_only=True)(cls)

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if not value > 0:
                raise ValueError(f"threshold {each.name} must be above 0, got {value}")

    @staticmethod
    @abstractmethod
    def subjects(sample: Sample) -> Iterable[tuple[str, Any]]:
        """Return what rules of this kind judge in a sample: the name of each place, and what it holds."""

    @abstractmethod
    def judge(self, subject: Subject, past: Past[Subject], /) -> Finding | None:
        """Return a finding if the condition of the alarm holds at a place now.

        Args:
            subject: Sample of one place, or the whole sample for a `RunRule`.
            past: Knowledge of the place from earlier samples.
        """

    def from_slopes(self, summary: SlopeSummary, /) -> Concerned | None:
        """Return what the rule says of slopes whose history is unknown; None by default.

        `slopewise inspect` asks this. A rule that answers also sets `meaning`, and must agree with `judge`: it answers
        if, and only if, `judge` finds fault with a layer that has had these slopes for long. Leave it out if a verdict
        needs the history of a run. The evidence of a rule that answers begins with "N of M slopes".
        """
        del summary
        return None


class RunRule(AlarmRule[Sample]):
    """Rule about the whole sample; its alarm is raised once in a run, for the first place."""

    subject = Sample

    @staticmethod
    def subjects(sample: Sample) -> Iterable[tuple[str, Sample]]:
        """Return the sample itself."""
        return (("", sample),)


class SiteRule(AlarmRule[SiteSample]):
    """Rule about single call sites of activations: states of their units, and gradients through them."""

    subject = SiteSample

    @staticmethod
    def subjects(sample: Sample) -> Iterable[tuple[str, SiteSample]]:
        """Return the call sites, in the order of the forward pass."""
        return ((site.site, site) for site in sample.sites)


class SlopeRule(AlarmRule[SlopeSample]):
    """Rule about the learned slopes of single layers: their values, gradients and updates."""

    subject = SlopeSample

    @staticmethod
    def subjects(sample: Sample) -> Iterable[tuple[str, SlopeSample]]:
        """Return the layers with slopes, in the model's order."""
        return ((layer.layer, layer) for layer in sample.slopes)


class LayerRule(AlarmRule[LayerSample]):
    """Rule about the parameters of single layers, slopes aside: norms of weights, gradients and updates."""

    subject = LayerSample

    @staticmethod
    def subjects(sample: Sample) -> Iterable[tuple[str, LayerSample]]:
        """Return the layers, in the model's order."""
        return ((layer.layer, layer) for layer in sample.layers)


KINDS: tuple[type[AlarmRule[Any]], ...] = (RunRule, SiteRule, SlopeRule, LayerRule)  # in which alarms are raised
