"""Time per training step of each arm, relative to the control."""

from __future__ import annotations

from dataclasses import dataclass

from slopewise.analysis import ArmSummary, Contrast
from slopewise.report.study.info._study import StudyInfo


@dataclass(frozen=True, slots=True)
class CostInfo:
    """Relative cost of the arms.

    Attributes:
        arms: Arms with a median ratio, which may include the ratio with stock PyTorch.
        ratios: Ratio of each seed, by arm.
    """

    arms: tuple[ArmSummary, ...]
    ratios: dict[str, dict[int, float]]


def cost_info(info: StudyInfo) -> CostInfo | None:
    """Return the cost of each arm relative to the control; None if no seed has step times for both.

    Example:
        >>> from slopewise.report.study.info._study import study_info
        >>> from slopewise.testing import synthetic_study
        >>> cost = cost_info(study_info(synthetic_study(("relu", "prelu_shared"), seeds=3)))
        >>> [arm.arm for arm in cost.arms], sorted(cost.ratios["prelu_shared"])
        (['relu', 'prelu_shared'], [0, 1, 2])
    """
    ratios = {
        contrast.arm: _ratios(contrast)
        for contrast in info.analysis.secondary
        if contrast.metric == "seconds_per_step" and contrast.seeds
    }
    if not ratios:
        return None
    return CostInfo(tuple(arm for arm in info.analysis.arms if arm.cost_ratio is not None), ratios)


def _ratios(contrast: Contrast) -> dict[int, float]:
    """Return arm / control in each seed that both have."""
    arm = dict(zip(contrast.seeds, contrast.arm_values, strict=True))
    control = dict(zip(contrast.control_seeds, contrast.control_values, strict=True))
    return {seed: time / control[seed] for seed, time in arm.items() if control.get(seed, 0) > 0}
