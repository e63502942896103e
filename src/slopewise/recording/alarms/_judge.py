"""From samples to alarms: the rules applied in the order of the model, each alarm raised once."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping
from types import NoneType
from typing import Any

from slopewise.errors import SlopewiseWarning
from slopewise.recording._sample import Sample
from slopewise.recording.alarms._alarm import Alarm
from slopewise.recording.alarms._base import KINDS, AlarmRule, Finding
from slopewise.recording.alarms._past import Facts, Past, Run, Streak
from slopewise.recording.alarms._registry import SHIPPED, AlarmId
from slopewise.recording.alarms._thresholds import Thresholds


class Judge:
    """Judgement of one run by all rules: raises each alarm once for each place, and those of a `RunRule` once.

    Args:
        thresholds: Thresholds of slopewise's rules, and the alarms to ignore.
        rules: Rules to apply instead of all, with their own thresholds.
    """

    def __init__(self, thresholds: Thresholds | None = None, rules: Iterable[AlarmRule[Any]] | None = None) -> None:
        thresholds = thresholds or Thresholds()
        order = sorted(thresholds.rules() if rules is None else rules, key=lambda rule: (not rule.setup, rule.rank))
        self._rules = [(kind, [rule for rule in order if isinstance(rule, kind)]) for kind in KINDS]
        self._ignored = frozenset((thresholds.ignore,) if isinstance(thresholds.ignore, str) else thresholds.ignore)
        self._run = Run()
        self._pasts: dict[tuple[AlarmId, str], Past[Any]] = {}
        self._raised: set[tuple[AlarmId, str]] = set()

    def see(self, sample: Sample, facts: Facts | None = None) -> list[Alarm]:
        """Return the alarms that a sample raises, in the order of the model; those about the whole run come first.

        Args:
            sample: Sample of a later step than those before it.
            facts: Facts about slopes in this step.

        Example:
            >>> from slopewise.recording import Sample, SiteSample
            >>> judge = Judge()
            >>> site = SiteSample("act", "relu", 4, 200, 0.2, (1, 2), (), (1, 2), 0.5)
            >>> [str(alarm) for step in (1, 51, 101) for alarm in judge.see(Sample(step, 1, (site,), (), ()))]
            ['step 101: dead-units at act: 2 of 4 units dead: 1 and 2; none of 600 values above 0, since step 1']
        """
        self._run.advance(sample.step, facts or Facts())
        new = []
        for rule, place, finding in self._findings(sample):
            if rule.id in self._ignored or (rule.id, place) in self._raised:
                continue
            self._raised.add((rule.id, place))
            where = place if finding.where is None else finding.where
            new.append(Alarm(rule.id, where, sample.step, finding.since, finding.evidence, rule.advice))
        return new

    def streaks(self, alarm: AlarmId, where: str) -> Mapping[Any, Streak]:
        """Return the conditions that a rule found to hold at a place in its latest sample, each with its streak.

        Example:
            >>> from slopewise.recording import Sample, SiteSample
            >>> judge = Judge()
            >>> site = SiteSample("act", "relu", 4, 200, 0.2, (1, 2), (), (1, 2), 0.5)
            >>> judge.see(Sample(1, 1, (site,), (), ())), judge.streaks("dead-units", "act")[2].since
            ([], 1)
        """
        past = self._pasts.get((alarm, where))
        return {} if past is None else past.streaks

    def state_dict(self) -> dict[str, Any]:
        """Return what is remembered of the samples so far, as plain data: numbers, text, None, lists and dicts."""
        facts = {name: dict(values) for name, values in vars(self._run.facts).items()}
        return {
            "step": self._run.step,
            "previous_step": self._run.previous_step,
            "facts": facts,
            "raised": [list(key) for key in sorted(self._raised)],
            "pasts": [[*key, past.state_dict()] for key, past in self._pasts.items()],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what another judge with the same rules remembered; what rules of its own knew is left out.

        Example:
            >>> from slopewise.recording import Sample, SiteSample
            >>> site = SiteSample("act", "relu", 4, 200, 0.2, (1, 2), (), (1, 2), 0.5)
            >>> before, after = Judge(), Judge()
            >>> [before.see(Sample(step, 1, (site,), (), ())) for step in (1, 51)]
            [[], []]
            >>> after.load_state_dict(before.state_dict())
            >>> [alarm.since for alarm in after.see(Sample(101, 1, (site,), (), ()))]
            [1]
        """
        self._run.step, self._run.previous_step = state["step"], state["previous_step"]
        self._run.facts = Facts(**state["facts"])
        self._raised = {(alarm, place) for alarm, place in state["raised"]}
        kinds = {rule.id: kind.subject for kind, rules in self._rules for rule in rules}
        self._pasts = {
            (alarm, place): Past.of_state(self._run, kinds[alarm], past)
            for alarm, place, past in state["pasts"]
            if alarm in kinds
        }

    def _findings(self, sample: Sample) -> Iterator[tuple[AlarmRule[Any], str, Finding]]:
        for kind, rules in self._rules:
            for place, subject in kind.subjects(sample):
                for rule in list(rules):
                    past = self._pasts.get((rule.id, place))
                    if past is None:
                        past = self._pasts[rule.id, place] = Past(self._run, subject)
                    try:
                        finding = rule.judge(subject, past)
                        if not isinstance(finding, (Finding, NoneType)):
                            raise TypeError(f"judge must return a Finding or None, got {finding!r}")
                    except Exception as error:
                        if rule.id in SHIPPED:
                            raise
                        # Training must not end because a rule of the user's has a fault.
                        rules.remove(rule)
                        message = f"alarm rule '{rule.id}' failed and judges nothing more"
                        warnings.warn(f"{message}: {type(error).__name__}: {error}", SlopewiseWarning, stacklevel=2)
                        continue
                    if finding is not None:
                        yield rule, place, finding


def judge(samples: Iterable[Sample], thresholds: Thresholds | None = None) -> tuple[Alarm, ...]:
    """Return the alarms that all rules raise about samples, as of a recording that is there already.

    Alarms that need more than samples, about weight decay and shared slopes, are not among them.

    Args:
        samples: Samples of one run, in the order of their steps.
        thresholds: Thresholds of slopewise's rules, and the alarms to ignore.

    Example:
        >>> from slopewise.testing import synthetic_recording
        >>> recording = synthetic_recording()
        >>> judge(recording.samples) == recording.alarms
        True
    """
    judgement = Judge(thresholds)
    return tuple(alarm for sample in samples for alarm in judgement.see(sample))
