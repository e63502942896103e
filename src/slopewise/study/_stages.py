"""Stages of a running study: the trials to run next, and events about tuning and looks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from slopewise.analysis import analyse
from slopewise.events import Event, Look, TrialKey, Tuned
from slopewise.records import StudyRecord
from slopewise.study._plan import all_cells, chosen_rates, decided_arms, ended, key_of, next_trials, remaining
from slopewise.study._spec import StudySpec
from slopewise.study._store import Key, Store, StoredPlan, plain


def settled_trials(record: StudyRecord | None, *, retry_failed: bool) -> set[Key]:
    """Return the keys of the trials that must not run again: ended trials, without failed trials to be retried.

    A failed trial is not retried if a decision was made without it: a trial of the tuning once the study's own trials
    have begun, and a trial of an adaptive study once a look includes its seed.
    """
    done = ended(record)
    if record is None or not retry_failed:
        return {*done}
    decided = set(record.seeds[: _last_look(record) or 0])
    final = {
        key for key in done if (key[1] not in record.seeds and record.trials) or (not key[2] and key[1] in decided)
    }
    return {key for key, trial in done.items() if trial.status != "failed" or key in final}


def _last_look(record: StudyRecord) -> int | None:
    """Return the number of seeds of the last look of an adaptive study; None before the first look.

    The control, which is trained with every seed, has trials of all seeds up to the look.
    """
    seeds = {trial.seed for trial in record.trials if trial.arm == record.control}
    return max((look for look in record.looks if seeds.issuperset(record.seeds[:look])), default=None)


class Stages:
    """Stages of a study, each determined by the trials stored so far.

    Args:
        spec: Spec of the study.
        record: Records of the study so far; None if it has not begun.
        retry_failed: True to run failed trials again, once.
        on_event: Called with `Tuned` and `Look` events.
    """

    def __init__(
        self,
        spec: StudySpec,
        record: StudyRecord | None,
        *,
        retry_failed: bool = False,
        on_event: Callable[[Event], None] | None = None,
    ) -> None:
        self._spec, self._record, self._on_event = spec, record, on_event
        self._settled = settled_trials(record, retry_failed=retry_failed)
        self._tuned = bool(record and record.trials)
        self._decided, self._look = decided_arms(spec, record), _last_look(record) if record else None

    @property
    def left(self) -> tuple[TrialKey, ...]:
        """Trials that may still run."""
        return remaining(self._spec, self._record, self._settled)

    def plan(self) -> StoredPlan:
        """Return the plan, as far as the results so far determine it."""
        left = self.left
        certain = next_trials(self._spec, self._record, self._settled) if self._spec.until_decided else left
        keys = self._settled | {key_of(trial) for trial in certain}
        planned = {arm.name: 0 for arm in self._spec.arms} | Counter(arm for arm, _, _ in keys)
        most = len(self._settled | {key_of(trial) for trial in left})
        return StoredPlan(planned, most, plain(all_cells(self._spec, self._record)))

    def first(self) -> tuple[TrialKey, ...]:
        """Return the trials of the current stage."""
        return next_trials(self._spec, self._record, self._settled)

    def next(self, store: Store) -> tuple[TrialKey, ...]:
        """Return the trials of the next stage, once those of the current stage are stored; empty at the end.

        Raises:
            SpecError: The best rate of an arm is at the edge of the range after all widening, or no rate trains an arm.
        """
        self._record = store.read()
        self._settled |= ended(self._record).keys()
        trials = self.first()
        self._report(trials)
        if self._spec.until_decided or self._spec.tune:
            store.set_plan(self.plan())
        return trials

    def _report(self, trials: tuple[TrialKey, ...]) -> None:
        spec, record = self._spec, self._record
        if spec.tune and not self._tuned and any(not trial.cell for trial in trials):
            self._tuned = True
            self._send(Tuned(chosen_rates(spec, record)))
        look = _last_look(record) if record else None
        if record and look != self._look and look is not None:
            contrasts = analyse(record).primary
            decided = decided_arms(spec, record)
            new = tuple((arm, verdict) for arm, verdict in decided.items() if arm not in self._decided)
            open_arms = tuple(arm.name for arm in spec.arms if arm.name not in {*record.controls, *decided})
            looks = spec.until_decided.looks or () if spec.until_decided else ()
            following = next((seeds for seeds in looks if seeds > look), None) if open_arms else None
            self._look, self._decided = look, decided
            so_far = tuple((c.arm, c.difference) for c in contrasts if c.difference is not None)
            self._send(Look(look, new, open_arms, following, so_far, record.primary.unit))

    def _send(self, event: Event) -> None:
        if self._on_event:
            self._on_event(event)
