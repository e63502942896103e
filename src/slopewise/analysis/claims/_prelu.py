"""The comparison behind most claims: each arm with learned slopes against the ReLU arm."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeGuard

from slopewise.analysis._analyse import validation_target
from slopewise.analysis.claims._arms import Arm, learned_arms, relu_cautions, relu_of
from slopewise.analysis.claims._base import Claim, Finding
from slopewise.analysis.claims._factors import converged
from slopewise.analysis.claims._paired import Side
from slopewise.analysis.claims._settle import Measured
from slopewise.records import StudyRecord

Rows = list[Measured | Finding]


def against_relu(
    claim: Claim,
    study: StudyRecord,
    part: str,
    compare: Callable[[Side, Side, tuple[str, ...]], Measured | Finding],
    *,
    cell: str = "",
) -> Rows:
    """Compare each arm with learned slopes with the ReLU arm.

    Without such arms, and where the trials do not record the figure, findings are "not tested".

    Args:
        claim: Claim that the comparisons belong to.
        study: The study itself, or one of its cells as a study.
        part: Name of the part.
        compare: Function (arm, ReLU, cautions) -> comparison.
        cell: Key of the cell; empty for the study's own settings.
    """
    relu, arms = relu_of(study), learned_arms(study)
    if relu is None or not arms:
        return [claim.not_tested(part, lacking_arms(study, arms))]
    rows = []
    for arm in arms:
        one, other = Side(study, arm.name, cell), Side(study, relu.name, cell)
        row = compare(one, other, relu_cautions(relu))
        rows.append(claim.not_tested(part, f"record of the {row.subject}") if unrecorded(row, one, other) else row)
    return rows


def unrecorded(row: Measured | Finding, *sides: Side) -> TypeGuard[Measured]:
    """Return True if a comparison has no figure although trials of all its sides trained: none of them records it."""
    trained = (set(converged(side.study, side.arm)) for side in sides)
    return isinstance(row, Measured) and row.n == 0 and bool(set.intersection(*trained))


def lacking_arms(study: StudyRecord, arms: Sequence[Arm]) -> str:
    """Return a noun phrase for the missing arms, to follow "the study has no"."""
    if not study.spec.get("arms"):
        return "spec that describes its arms"
    relu = ["arm with ReLU"] if relu_of(study) is None else []
    return " and no ".join(relu + ["arm that learns slopes and is otherwise trained like ReLU"] * (not arms))


def target_of(study: StudyRecord) -> float | None:
    """Return the target of steps and seconds: the median of ReLU's final validation scores."""
    relu = relu_of(study)
    return validation_target(study if relu is None else replace(study, control=relu.name))
