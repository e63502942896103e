"""Looks of an adaptive study in words: the schedule, and the state of each arm."""

from __future__ import annotations

from slopewise.analysis import Analysis, Contrast
from slopewise.drawing import listing
from slopewise.records import StudyRecord


def is_open(study: StudyRecord, analysis: Analysis) -> bool:
    """Return True if an adaptive study has further looks, so that it may end with fewer trials than planned."""
    looks = study.looks
    return any(not contrast.decided and contrast.look != looks[-1] for contrast in analysis.primary if looks)


def decided_words(contrast: Contrast) -> str:
    """Return the look at which a contrast of an adaptive study was decided, as short text for tables.

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
    """Return sentences about the looks, p values and intervals of an adaptive study; empty for a fixed study."""
    if not study.looks:
        return ""
    return (
        f"The number of seeds is adaptive: the study looks after {listing(study.looks)} seeds, and an arm that a look "
        "decides gets no further seeds. p values come from one test over all looks. Intervals are adjusted for "
        "looking, so that those of all looks hold jointly with 95 %."
    )
