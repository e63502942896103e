"""Scores of each class on the test part, over the seeds in which training converged."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean

from slopewise.drawing import NOTHING, number, signed
from slopewise.records import StudyRecord, class_of

MOST = 100  # classes that a page shows


@dataclass(frozen=True, slots=True)
class ClassTable:
    """Table of one score of each class.

    Attributes:
        score: Name of the score, such as `recall`.
        counted: True if the number of test images of each class is known.
        rows: Cells of class, test images if `counted`, arm, mean score in percent, and its difference from the control
            in points.
        left_out: Number of classes that are not shown: those of the highest scores of the control.
    """

    score: str
    counted: bool
    rows: tuple[tuple[str, ...], ...]
    left_out: int


def class_tables(study: StudyRecord) -> tuple[ClassTable, ...]:
    """Return a table for each score that trials have recorded by class.

    Example:
        >>> from slopewise.testing import synthetic_study
        >>> class_tables(synthetic_study(seeds=2))
        ()
    """
    classes = study.data.get("classes", ())
    values: dict[str, dict[int, dict[str, list[float]]]] = {}
    for trial in study.trials:
        for (part, metric), value in trial.final_scores().items():
            match = class_of(metric) if part == "test" and trial.status == "finished" and not trial.diverged else None
            if match and match[1] < len(classes) and value is not None:
                values.setdefault(match[0], {}).setdefault(match[1], {}).setdefault(trial.arm, []).append(value)
    return tuple(_table(study, score, by_class) for score, by_class in values.items())


def _table(study: StudyRecord, score: str, by_class: dict[int, dict[str, list[float]]]) -> ClassTable:
    means = {k: {arm: fmean(arms[arm]) for arm in study.arms if arm in arms} for k, arms in by_class.items()}
    lowest = sorted(means, key=lambda k: means[k].get(study.control, 0.0))[:MOST]
    counts, names = study.data.get("test_images_by_class"), study.data["classes"]
    rows = [
        (
            str(names[k]),
            *([str(counts[k])] if counts else []),
            arm,
            number(100 * mean, 1),
            signed(100 * (mean - means[k][study.control]), 1) if study.control in means[k] else NOTHING,
        )
        for k in sorted(lowest)
        for arm, mean in means[k].items()
    ]
    return ClassTable(score, bool(counts), tuple(rows), len(means) - len(lowest))
