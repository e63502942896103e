"""Knowledge of rules beside the sample that they judge: earlier samples, and the settings of the optimizer."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, Self, TypeVar

from slopewise.recording._plain import from_plain, to_plain

Subject = TypeVar("Subject")


@dataclass(frozen=True)
class Facts:
    """Facts about slopes that samples do not hold, each by layer.

    Attributes:
        decays: Weight decay of the slopes, where there is any.
        rates: Learning rate of the slopes.
        tied: Sentence about the places that share the slopes, where there are several.
    """

    decays: Mapping[str, float] = field(default_factory=dict)
    rates: Mapping[str, float] = field(default_factory=dict)
    tied: Mapping[str, str] = field(default_factory=dict)


class Streak(NamedTuple):
    """Consecutive samples of a place, up to the current one, in which a condition held.

    Attributes:
        since: Step of the first of them.
        samples: Number of samples.
        values: Pre-activations of each unit that they cover.
    """

    since: int
    samples: int = 0
    values: int = 0


@dataclass
class Run:
    """Facts that are the same for all rules and places.

    Attributes:
        step: Step of the current sample.
        previous_step: Step of the sample before it; 0 if there is none.
        facts: Facts about the slopes in the current sample.
    """

    step: int = 0
    previous_step: int = 0
    facts: Facts = field(default_factory=Facts)

    def advance(self, step: int, facts: Facts) -> None:
        """Go on to the next sample."""
        self.previous_step, self.step, self.facts = self.step, step, facts


class Past(Generic[Subject]):
    """One rule's knowledge of one place, up to the current sample.

    Attributes:
        run: Facts that are the same for all places.
        first: First sample of the place.
        streaks: Conditions that hold now, each with its streak.
    """

    def __init__(self, run: Run, first: Subject) -> None:
        self.run, self.first = run, first
        self._first_step = run.step
        self.streaks: Mapping[Hashable, Streak] = {}

    @property
    def step(self) -> int:
        """Step of the current sample."""
        return self.run.step

    @property
    def begins(self) -> bool:
        """True in the first sample of the place."""
        return self.step == self._first_step

    @property
    def facts(self) -> Facts:
        """Facts about the slopes in the current sample."""
        return self.run.facts

    def streak(self, holds: bool, values: int = 0) -> Streak | None:
        """Note if a condition holds in the current sample; return its streak, None where it does not hold.

        A rule that leaves the question open, because the sample cannot tell, does not call this: the streak then goes
        on with the next sample.

        Args:
            holds: True if it does.
            values: Pre-activations of each unit in the current sample.

        Example:
            >>> past = Past(Run(step=1), None)
            >>> past.streak(True)
            Streak(since=1, samples=1, values=0)
            >>> past.run.advance(51, Facts())
            >>> past.streak(True), past.streak(False)
            (Streak(since=1, samples=2, values=0), None)
        """
        if not holds:  # nearly always: this is called for every rule and place of a sample
            self.streaks = {}
            return None
        return self.streaks_of([None], values)[None]

    def streaks_of(self, conditions: Iterable[Hashable], values: int = 0) -> Mapping[Hashable, Streak]:
        """Note which conditions, units for instance, hold in the current sample; return the streak of each.

        Args:
            conditions: Those that hold; the streaks of others end.
            values: Pre-activations of each unit in the current sample.
        """
        begun = {condition: self.streaks.get(condition, Streak(self.step)) for condition in conditions}
        self.streaks = {
            condition: Streak(streak.since, streak.samples + 1, streak.values + values)
            for condition, streak in begun.items()
        }
        return self.streaks

    def state_dict(self) -> dict[str, Any]:
        """Return what is known of the place, as plain data as long as the conditions of its streaks are."""
        streaks = [[condition, *streak] for condition, streak in self.streaks.items()]
        return {"first": to_plain(self.first), "first_step": self._first_step, "streaks": streaks}

    @classmethod
    def of_state(cls, run: Run, kind: type[Subject], state: Mapping[str, Any]) -> Self:
        """Return what `state_dict` was called for.

        Args:
            run: Facts that are the same for all places.
            kind: Class of the place's samples.
            state: State of the place.
        """
        past = cls(run, from_plain(kind, state["first"]))
        past._first_step = state["first_step"]
        past.streaks = {condition: Streak(*streak) for condition, *streak in state["streaks"]}
        return past
