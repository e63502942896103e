"""Alarms of a study's trials, as rows of a table and as sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from slopewise.analysis import ArmAlarm
from slopewise.drawing import listing
from slopewise.recording import ADVICE

_NAMED = 4  # places that are named; further ones are counted


class AlarmRow(NamedTuple):
    """Row of the table of alarms: one kind of alarm in one arm."""

    arm: str
    alarm: str
    seeds: str
    places: str
    first: str
    advice: str


def alarm_rows(alarms: Sequence[ArmAlarm]) -> Iterator[AlarmRow]:
    """Yield a row for each arm and kind of alarm, with the step and the evidence of the first one."""
    for alarm in alarms:
        first = f"step {alarm.step} of seed {alarm.seed}: {alarm.evidence}"
        yield AlarmRow(alarm.arm, alarm.id, listing(alarm.seeds), _places(alarm), first, ADVICE.get(alarm.id, ""))


def alarm_notes(alarms: Sequence[ArmAlarm], finished: Mapping[str, int]) -> Iterator[str]:
    """Yield a sentence for each arm and kind of alarm.

    Args:
        alarms: Alarms of the study.
        finished: Number of finished trials of each arm.
    """
    for alarm in alarms:
        seeds = f"{len(alarm.seeds)} of {finished[alarm.arm]} seeds"
        yield f"Alarm {alarm.id} in {seeds} of {alarm.arm}, at {_places(alarm)}: {alarm.evidence}."


def _places(alarm: ArmAlarm) -> str:
    rest = len(alarm.places) - _NAMED
    return listing([*alarm.places[:_NAMED], *([f"{rest} more"] if rest > 0 else [])])
