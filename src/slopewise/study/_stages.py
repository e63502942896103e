"""The stages of a running study: what runs next, and news of what results have decided."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

from slopewise.analysis import analyse
from slopewise.events import Event, Look, TrialKey, Tuned
from slopewise.records import StudyRecord
from slopewise.study._plan import all_cells, chosen_rates, decided_arms, ended, key_of, next_trials, remaining
from slopewise.study._spec import StudySpec
from slopewise.study._store import Key, Store, StoredPlan, plain, read_study


def settled_trials(record: StudyRecord | None, *, retry_failed: bool) -> set[Key]:
    """Return the trials that are not to run again: those that have ended, without failed ones if they are retried.

    A failed trial on whose absence a decision rests stays failed: one of the tuning, once the study's own trials have
    begun, and one of an adaptive study, once a look has been taken after its seed.
    """
    done = ended(record)
    if record is None or not retry_failed:
        return {*done}
    decided = set(record.seeds[: _last_look(record) or 0])
    rests = {
        key for key in done if (key[1] not in record.seeds and record.trials) or (not key[2] and key[1] in decided)
    }
    return {key for key, trial in done.items() if trial.status != "failed" or key in rests}


def _last_look(record: StudyRecord) -> int | None:
    """Return the last look of an adaptive study; None before the first one.

    The control has trials up to it, and so has every arm that was not decided before.
    """
    seeds = {trial.seed for trial in record.trials if trial.arm == record.control}
    return max((look for look in record.looks if seeds.issuperset(record.seeds[:look])), default=None)


class Stages:
    """Stages of a study, each decided by the trials that are stored.

    Args:
        spec: Spec of the study.
        record: The study so far; None if it has not begun.
        retry_failed: True to run failed trials again, once.
        on_event: Called with news of tuning and looks.
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
        """Return the plan as far as results have determined it."""
        left = self.left
        sure = next_trials(self._spec, self._record, self._settled) if self._spec.until_decided else left
        known = self._settled | {key_of(trial) for trial in sure}
        planned = {arm.name: 0 for arm in self._spec.arms} | Counter(arm for arm, _, _ in known)
        most = len(self._settled | {key_of(trial) for trial in left})
        return StoredPlan(planned, most, plain(all_cells(self._spec, self._record)))

    def first(self) -> tuple[TrialKey, ...]:
        """Return the trials of the present stage."""
        return next_trials(self._spec, self._record, self._settled)

    def next(self, store: Store, folder: Path) -> tuple[TrialKey, ...]:
        """Return the trials of the next stage, once those of the present one are stored; none at the end.

        Raises:
            SpecError: The rate that tuning found best is at the edge of what was tried.
        """
        self._record = read_study(folder)
        self._settled |= ended(self._record).keys()
        trials = self.first()
        self._tell(trials)
        if self._spec.until_decided or self._spec.tune:
            store.set_plan(self.plan())
        return trials

    def _tell(self, trials: tuple[TrialKey, ...]) -> None:
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
            following = next((each for each in looks if each > look), None) if open_arms else None
            self._look, self._decided = look, decided
            so_far = tuple((each.arm, each.difference) for each in contrasts if each.difference is not None)
            self._send(Look(look, new, open_arms, following, so_far, record.primary.unit))

    def _send(self, event: Event) -> None:
        if self._on_event:
            self._on_event(event)
