"""Description of a contrast beside its verdict: posterior probabilities, and the fraction of seeds won by the arm."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from slopewise.analysis._intervals import difference_estimate, mean_estimate
from slopewise.analysis._rates import clopper_pearson
from slopewise.analysis._results import Contrast


@dataclass(frozen=True, slots=True)
class Description:
    """Figures that describe a contrast. They are not a verdict: they are not corrected for the number of arms or looks.

    Attributes:
        worse: Probability that the arm is worse than the control by the margin or more.
        within: Probability that the mean difference is smaller than the margin: what the other two leave.
        better: Probability that the arm is better by the margin or more. The three probabilities add up to 1. They
            come from the posterior of the mean difference under a flat prior on the mean and on the logarithm of the
            standard deviation: Student's t, or Welch's approximation without pairs. `worse` and `better` are lowered
            where the differences are skewed, as the interval is widened there, so that neither is above 97.5 % unless
            the 95 % interval of a fixed study lies beyond the margin. None without a margin, or without spread.
        wins: Fraction of seeds in which the arm is better, among the seeds in which arm and control differ. Without
            pairs, the probability of superiority: the fraction of all pairs of an arm's run and a control's run in
            which the arm is better, with ties counted half. None if nothing can be compared.
        wins_interval: Exact 95 % interval of that fraction (Clopper and Pearson); None without pairs.
        compared: Number of seeds in which arm and control differ; without pairs, number of all pairs of runs.
        ties: Number of seeds, or of pairs of runs, in which arm and control are equal.
    """

    worse: float | None
    within: float | None
    better: float | None
    wins: float | None
    wins_interval: tuple[float, float] | None
    compared: int
    ties: int


def describe(contrast: Contrast) -> Description:
    """Return the posterior probabilities and the fraction of wins of a contrast.

    Example:
        >>> from slopewise.analysis import analyse
        >>> from slopewise.testing import synthetic_study
        >>> study = synthetic_study(("relu", "elu"), effects={"elu": 0.6})
        >>> description = describe(analyse(study).primary[0])
        >>> [round(value, 2) for value in (description.worse, description.within, description.better)]
        [0.0, 0.16, 0.84]
        >>> round(description.wins, 2), [round(end, 2) for end in description.wins_interval]
        (0.89, [0.52, 1.0])
    """
    sign = 1 if contrast.better == "higher" else -1
    worse, within, better = _posterior(contrast, sign)
    if contrast.paired:
        gains = sign * np.asarray(contrast.differences, dtype=np.float64)
    else:
        gains = sign * np.subtract.outer(contrast.arm_values, contrast.control_values).ravel()
    ties = int(np.count_nonzero(gains == 0))
    above, compared = int(np.count_nonzero(gains > 0)), len(gains)
    if contrast.paired:
        compared -= ties
    wins = above if contrast.paired else above + ties / 2
    return Description(
        worse=worse,
        within=within,
        better=better,
        wins=wins / compared if compared else None,
        wins_interval=clopper_pearson(above, compared) if contrast.paired and compared else None,
        compared=compared,
        ties=ties,
    )


def _posterior(contrast: Contrast, sign: int) -> tuple[float, float, float] | tuple[None, None, None]:
    if contrast.margin is None or not contrast.sd or contrast.difference is None:
        return None, None, None
    if contrast.paired:
        estimate = mean_estimate(contrast.differences)
    else:
        estimate = difference_estimate(contrast.arm_values, contrast.control_values)
    low, high = estimate.below(-contrast.margin), estimate.above(contrast.margin)
    worse, better = (low, high) if sign > 0 else (high, low)
    return worse, max(0.0, 1 - worse - better), better
