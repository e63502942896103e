"""The alarms of a study's trials in words."""

from __future__ import annotations

from collections.abc import Iterator

from slopewise.analysis import ArmAlarm
from slopewise.drawing import listing
from slopewise.recording import ADVICE

_FEW = 4  # places that are named


def alarm_rows(alarms: tuple[ArmAlarm, ...]) -> Iterator[tuple[str, ...]]:
    """Arm, alarm, seeds, places, the first one's step and evidence, and what to do."""
    for alarm in alarms:
        first = f"step {alarm.step} of seed {alarm.seed}: {alarm.evidence}"
        yield alarm.arm, alarm.id, listing(alarm.seeds), _places(alarm), first, ADVICE.get(alarm.id, "")


def alarm_notes(alarms: tuple[ArmAlarm, ...], finished: dict[str, int]) -> Iterator[str]:
    """A line for each arm and alarm; `finished` counts the trials of the arms."""
    for alarm in alarms:
        seeds = f"{len(alarm.seeds)} of {finished[alarm.arm]} seeds"
        yield f"Alarm {alarm.id} in {seeds} of {alarm.arm}, at {_places(alarm)}: {alarm.evidence}."


def _places(alarm: ArmAlarm) -> str:
    rest = len(alarm.places) - _FEW
    return listing([*alarm.places[:_FEW], *([f"{rest} more"] if rest > 0 else [])])
