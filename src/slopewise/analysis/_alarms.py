"""Alarms that the monitor raised in the trials, arm by arm."""

from __future__ import annotations

from collections import Counter

from slopewise.analysis._results import ArmAlarm
from slopewise.records import AlarmRecord, StudyRecord


def arm_alarms(study: StudyRecord) -> tuple[ArmAlarm, ...]:
    """Return each kind of alarm in each arm, in the order of the arms, the most frequent kind first.

    Example:
        >>> from slopewise.testing import synthetic_study
        >>> study = synthetic_study(("relu", "prelu_shared"), seeds=4, diverged={"prelu_shared": 2})
        >>> [(alarm.arm, alarm.id, alarm.seeds) for alarm in arm_alarms(study)]
        [('prelu_shared', 'slope-runaway', (0, 1))]
    """
    by_kind: dict[tuple[str, str], list[tuple[int, AlarmRecord]]] = {}
    for trial in study.trials:
        for alarm in trial.alarms:
            by_kind.setdefault((trial.arm, alarm.id), []).append((trial.seed, alarm))
    result = []
    for (arm, kind), raised in by_kind.items():
        seed, first = min(raised, key=lambda pair: pair[1].step)
        places = Counter(alarm.where for _, alarm in raised)
        result.append(
            ArmAlarm(
                arm=arm,
                id=kind,
                seeds=tuple(sorted({seed for seed, _ in raised})),
                places=tuple(place for place, _ in places.most_common()),
                step=first.step,
                seed=seed,
                evidence=first.evidence,
            )
        )
    return tuple(sorted(result, key=lambda alarm: (study.arms.index(alarm.arm), -len(alarm.seeds), alarm.id)))
