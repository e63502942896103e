"""Facts about a study as a whole, which its page, its live page and its summary on a terminal share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from slopewise.analysis import Analysis, ArmSummary, Contrast, analyse, seeds_of_arms
from slopewise.drawing import count, listing
from slopewise.records import StudyRecord, TrialRecord
from slopewise.report.study.info._alarms import AlarmRow, alarm_notes, alarm_rows, site_classes
from slopewise.report.study.info._damage import damage_note
from slopewise.report.study.info._looks import is_open, schedule_words
from slopewise.report.study.info._operators import operator_notes
from slopewise.report.study.info._origin import data_words, origin_words, study_title
from slopewise.report.study.info._repeats import repeat_notes
from slopewise.report.study.info._sections import sections

MOST_ROWS = 200  # trials that a table of the page lists one by one
MOST_DOTS = 300  # trials of an arm that a chart draws one by one
_ERRORS = 50  # failed trials whose errors the page prints
_NAMED = 6  # missing seeds of an arm that are named; more are counted


@dataclass(frozen=True, slots=True)
class ArmRow:
    """Row of the summary table.

    Attributes:
        arm: Figures of the arm alone.
        contrast: Contrast of the arm with its control; None for a control.
        converged: Contrast without the pairs in which a trial diverged; None if there are no such pairs.
        against: Name of the arm's control if it is not the study's control, else empty.
    """

    arm: ArmSummary
    contrast: Contrast | None
    converged: Contrast | None
    against: str = ""


@dataclass(frozen=True, slots=True)
class StudyInfo:
    """Facts about a study so far.

    Attributes:
        study: Records.
        analysis: Analysis of the records.
        title: Name of the study, or its model, data and arms.
        data: Name of the data, with the size of the images.
        origin: Sentences about when, with which code and on what the trials were trained; may be empty.
        planned: Number of trials in all; in an adaptive study, without those of decided arms that will not run.
        most: True if later looks may reduce this number.
        schedule: Sentences about the looks of an adaptive study; empty for a fixed study.
        missing: Seeds in which an arm lacks a trial, in print, by arm; arms that lack none are left out.
        sections: Titles of the sections that the records allow, by id.
        finished, diverged, failed: Trials by how they ended; a diverged trial is a finished one.
        listed_diverged, listed_failed: First of these trials, which tables list one by one.
        many: True if an arm has more trials than a chart can draw one by one.
        rows: Rows of the summary table, one for each arm.
        damage: Sentence about damaged trials; empty if none are.
        repeats: Sentences about trials that were trained twice.
        operators: Sentences about the operators that step times rest on.
        alarms: Rows of the table of alarms.
        alarm_notes: Sentences about alarms.
    """

    study: StudyRecord
    analysis: Analysis
    title: str
    data: str
    origin: tuple[str, ...]
    planned: int
    most: bool
    schedule: str
    missing: dict[str, tuple[str, ...]]
    sections: dict[str, str]
    finished: tuple[TrialRecord, ...]
    diverged: tuple[TrialRecord, ...]
    failed: tuple[TrialRecord, ...]
    listed_diverged: tuple[TrialRecord, ...]
    listed_failed: tuple[TrialRecord, ...]
    many: bool
    rows: tuple[ArmRow, ...]
    damage: str
    repeats: tuple[str, ...]
    operators: tuple[str, ...]
    alarms: tuple[AlarmRow, ...]
    alarm_notes: tuple[str, ...]


def study_info(study: StudyRecord) -> StudyInfo:
    """Return the facts that every view of a study shows.

    Example:
        >>> from slopewise.testing import synthetic_study
        >>> info = study_info(synthetic_study(("relu", "elu"), seeds=3, diverged={"elu": 1}))
        >>> info.title, info.planned, len(info.finished), len(info.diverged)
        ('Activation study', 6, 6, 1)
    """
    analysis = analyse(study)
    due = seeds_of_arms(study, analysis.primary)
    diverged = tuple(trial for trial in study.trials if trial.diverged)
    failed = tuple(trial for trial in study.trials if trial.status == "failed")
    classes = site_classes(study, dict.fromkeys(alarm.arm for alarm in analysis.alarms))
    return StudyInfo(
        study=study,
        analysis=analysis,
        title=study_title(study),
        data=data_words(study),
        origin=origin_words(study),
        planned=sum(due.values()) if study.looks else study.planned,
        most=is_open(study, analysis),
        schedule=schedule_words(study),
        missing=_missing(study, due),
        sections=sections(study, analysis),
        finished=tuple(trial for trial in study.trials if trial.status == "finished"),
        diverged=diverged,
        failed=failed,
        listed_diverged=diverged[:MOST_ROWS],
        listed_failed=failed[:_ERRORS],
        many=any(arm.finished > MOST_DOTS for arm in analysis.arms),
        rows=_arm_rows(analysis),
        damage=damage_note(study.damaged) if study.damaged else "",
        repeats=tuple(repeat_notes(study.repeats)),
        operators=tuple(operator_notes(analysis)),
        alarms=tuple(alarm_rows(analysis.alarms, classes)),
        alarm_notes=tuple(alarm_notes(analysis.alarms, classes, {arm.arm: arm.finished for arm in analysis.arms})),
    )


def _missing(study: StudyRecord, due: Mapping[str, int]) -> dict[str, tuple[str, ...]]:
    """Return the seeds of the missing trials by arm; unpaired runs, which seeds only number, are never missing."""
    there = {(trial.arm, trial.seed) for trial in study.trials}
    lacking = {
        arm: tuple(study.seed_name(seed) for seed in study.seeds[: due[arm]] if (arm, seed) not in there)
        for arm in study.arms
        if study.paired
    }
    return {arm: seeds for arm, seeds in lacking.items() if seeds}


def missing_words(missing: Mapping[str, Sequence[str]]) -> str:
    """Return which trials are missing: "elu seed 9; selu seeds 3 and 9", or the number of many seeds."""
    return "; ".join(
        f"{arm} seed{'s' if len(seeds) > 1 else ''} {listing(seeds)}"
        if len(seeds) <= _NAMED
        else f"{arm} {count(len(seeds), 'seed')}"
        for arm, seeds in missing.items()
    )


def pairs_words(contrast: Contrast) -> str:
    """Return the number of values of a contrast as tables show it: "9 pairs", or "9 and 8 runs"."""
    return count(len(contrast.seeds), "pair") if contrast.paired else contrast.basis


def _arm_rows(analysis: Analysis) -> tuple[ArmRow, ...]:
    primary = {contrast.arm: contrast for contrast in analysis.primary}
    converged = {contrast.arm: contrast for contrast in analysis.converged}
    rows = []
    for arm in analysis.arms:
        contrast, without = primary.get(arm.arm), converged.get(arm.arm)
        fewer = contrast is not None and without is not None and without.size < contrast.size
        against = contrast.control if contrast and contrast.control != analysis.control else ""
        rows.append(ArmRow(arm, contrast, without if fewer else None, against))
    return tuple(rows)
