"""Looks of an adaptive study in words: its schedule, and what each arm waits for."""

from __future__ import annotations

from slopewise.analysis import Analysis, Contrast
from slopewise.drawing import listing
from slopewise.records import StudyRecord


def is_open(study: StudyRecord, analysis: Analysis) -> bool:
    """Return True if an adaptive study has looks to come, so that fewer trials than planned may do."""
    looks = study.looks
    return any(not contrast.decided and contrast.look != looks[-1] for contrast in analysis.primary if looks)


def decided_words(contrast: Contrast) -> str:
    """Return at which look a contrast of an adaptive study was decided, as tables show it.

    Example:
        >>> from slopewise.analysis import analyse
        >>> from slopewise.testing import synthetic_study
        >>> study = synthetic_study(("relu", "elu"), looks=(8, 16), effects={"elu": 3.0})
        >>> decided_words(analyse(study).primary[0])
        'at 16 seeds'
    """
    if contrast.look is None:
        return "no look yet"
    if contrast.decided:
        return f"at {contrast.look} seeds"
    return f"{'not by' if contrast.look == contrast.looks[-1] else 'open at'} {contrast.look}"


def schedule_words(study: StudyRecord) -> str:
    """Return the schedule of an adaptive study, and what it means for p values and intervals; empty for a fixed one."""
    if not study.looks:
        return ""
    return (
        f"The number of seeds is adaptive: the study looks after {listing(study.looks)} seeds, and an arm that a look "
        "decides gets no more. p values are those of one test over all looks, and intervals are adjusted for looking: "
        "those of all looks hold together with 95 %."
    )
