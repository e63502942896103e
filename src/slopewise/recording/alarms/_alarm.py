"""An alarm as plain data: what a rule has raised, where, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass, field

from slopewise.errors import nearest
from slopewise.recording.alarms._base import AlarmRule, Chart
from slopewise.recording.alarms._registry import ALARM_IDS, SHIPPED, AlarmId, is_id, rule_of
from slopewise.support import printable


@dataclass(frozen=True, slots=True)
class Alarm:
    """An alarm about one place, raised in one sampled step.

    Attributes:
        id: Id of the rule that raised it.
        where: Call site or layer.
        step: Step at which it was raised.
        since: First step at which its condition held.
        evidence: Numbers behind it, in words.
        advice: Sentences that tell what to do. Given only where the rule is not known to this program, as when the
            recording is of another one; the rule's by default.

    Raises:
        ValueError: No rule has this id, and there is no advice.
    """

    id: AlarmId
    where: str
    step: int
    since: int
    evidence: str
    advice: str = field(default="", repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.advice and is_id(self.id):
            return
        rule = rule_of(self.id)
        if rule is None:
            raise ValueError(f"no alarm is called '{self.id}'; {nearest(self.id, ALARM_IDS)}")
        object.__setattr__(self, "advice", rule.advice)

    @property
    def page(self) -> str:
        """Page about it in slopewise's repository; empty for rules from elsewhere."""
        return f"docs/alarms/{self.id}.md" if self.id in SHIPPED else ""

    @property
    def charts(self) -> tuple[Chart, ...]:
        """Charts of the watch page that mark it; none if this program does not know the rule."""
        rule = rule_of(self.id)
        return () if rule is None else rule.charts

    @property
    def rank(self) -> int:
        """Place among alarms, the most serious first; last if this program does not know the rule."""
        rule = rule_of(self.id)
        return AlarmRule.rank if rule is None else rule.rank

    def __str__(self) -> str:
        since = "" if self.since == self.step else f", since step {self.since}"
        return printable(f"step {self.step}: {self.id} at {self.where}: {self.evidence}{since}")
