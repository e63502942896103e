"""Seeds that each arm of a study needs: all, or, once a look of an adaptive study has decided, those up to the look."""

from __future__ import annotations

from slopewise.analysis import Analysis, Contrast
from slopewise.drawing import listing
from slopewise.records import StudyRecord


def seeds_due(study: StudyRecord, analysis: Analysis) -> dict[str, tuple[int, ...]]:
    """Return the seeds of each arm, without those that a verdict has made needless.

    The control goes on for as long as any arm does.

    Example:
        >>> from slopewise.analysis import analyse
        >>> from slopewise.testing import synthetic_study
        >>> study = synthetic_study(("relu", "elu"), looks=(10, 16, 24), effects={"elu": 3.0})
        >>> trials = tuple(trial for trial in study.trials if trial.seed < 16)
        >>> from dataclasses import replace
        >>> {arm: len(seeds) for arm, seeds in seeds_due(study, analyse(replace(study, trials=trials))).items()}
        {'relu': 16, 'elu': 16}
    """
    last = {contrast.arm: len(study.seeds) if _open(contrast) else contrast.look for contrast in analysis.primary}
    longest = max((look for look in last.values() if look is not None), default=len(study.seeds))
    return {arm: study.seeds[: last.get(arm, longest)] for arm in study.arms}


def is_open(study: StudyRecord, analysis: Analysis) -> bool:
    """Return True if an adaptive study has looks to come, so that fewer trials than planned may do."""
    return any(_open(contrast) and contrast.look != study.looks[-1] for contrast in analysis.primary if study.looks)


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


def _open(contrast: Contrast) -> bool:
    return not contrast.looks or not contrast.decided or contrast.look is None
