"""Alarms of a study's trials, as rows of a table and as sentences."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

from slopewise.analysis import ArmAlarm
from slopewise.drawing import listing
from slopewise.recording import ADVICE
from slopewise.records import StudyRecord

_NAMED = 4  # places that are named; further ones are counted
_CLASSES = {  # of the modules that arms put in: what stands at a call site, where it has no slopes
    "relu": "ReLU",
    "leaky_relu": "LeakyReLU",
    "frozen_slope": "LeakyReLU",
    "elu": "ELU",
    "silu": "SiLU",
    "gelu": "GELU",
    "rrelu": "RReLU",
}


class AlarmRow(NamedTuple):
    """Row of the table of alarms: one kind of alarm in one arm."""

    arm: str
    alarm: str
    seeds: str
    places: str
    first: str
    advice: str


def site_classes(study: StudyRecord, arms: Collection[str]) -> dict[tuple[str, str], str]:
    """Return the class of the activation at each call site of some arms, as far as the records tell.

    A site with learned slopes has a PReLU. One without has what its arm puts in, of which `as_is` says nothing.

    Example:
        >>> from slopewise.testing import synthetic_study
        >>> classes = site_classes(synthetic_study(("relu", "prelu_shared"), seeds=1), ["relu", "prelu_shared"])
        >>> classes["relu", "act1"], classes["prelu_shared", "act1"]
        ('ReLU', 'PReLU')
    """
    put_in = {name: _CLASSES.get(str(table.get("activation")), "") for name, table in study.arm_tables.items()}
    classes: dict[tuple[str, str], str] = {}
    for arm in arms:
        # The trials of an arm have the same sites: those of one are decoded.
        sites = next((trial.sites for trial in study.trials if trial.arm == arm and trial.sites), ())
        classes |= {(arm, site.layer): "PReLU" if site.slopes else put_in.get(arm, "") for site in sites}
    return {place: name for place, name in classes.items() if name}


def alarm_rows(alarms: Sequence[ArmAlarm], classes: Mapping[tuple[str, str], str]) -> Iterator[AlarmRow]:
    """Yield a row for each arm and kind of alarm, with the step and the evidence of the first one.

    Args:
        alarms: Alarms of the study.
        classes: Class of the activation by arm and call site.
    """
    for alarm in alarms:
        first = f"step {alarm.step} of seed {alarm.seed}: {alarm.evidence}"
        places = _places(alarm, classes)
        yield AlarmRow(alarm.arm, alarm.id, listing(alarm.seeds), places, first, ADVICE.get(alarm.id, ""))


def alarm_notes(
    alarms: Sequence[ArmAlarm], classes: Mapping[tuple[str, str], str], finished: Mapping[str, int]
) -> Iterator[str]:
    """Yield a sentence for each arm and kind of alarm.

    Args:
        alarms: Alarms of the study.
        classes: Class of the activation by arm and call site.
        finished: Number of finished trials of each arm.
    """
    for alarm in alarms:
        seeds = f"{len(alarm.seeds)} of {finished[alarm.arm]} seeds"
        yield f"Alarm {alarm.id} in {seeds} of {alarm.arm}, at {_places(alarm, classes)}: {alarm.evidence}."


def _places(alarm: ArmAlarm, classes: Mapping[tuple[str, str], str]) -> str:
    rest = len(alarm.places) - _NAMED
    kinds = (classes.get((alarm.arm, place)) for place in alarm.places)
    named = [f"{place} ({kind})" if kind else place for place, kind in zip(alarm.places[:_NAMED], kinds, strict=False)]
    return listing([*named, *([f"{rest} more"] if rest > 0 else [])])
