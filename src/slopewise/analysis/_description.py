"""Description of a contrast beside its verdict: posterior probabilities, and the share of seeds that the arm wins."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass

import numpy as np

from slopewise.analysis._results import Contrast

_LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Description:
    """Figures that describe a contrast. They are no verdict: nothing corrects them for arms, or for looks.

    Attributes:
        worse: Probability that the arm is worse than the control by the margin or more.
        within: Probability that the mean difference is smaller than the margin.
        better: Probability that the arm is better by the margin or more. These three add up to 1. They are those of
            the posterior of the mean difference under a flat prior of it and of the logarithm of the spread: Student's
            t, or Welch's approximation without pairs. None without a margin or a spread.
        wins: Fraction of the seeds in which the arm is better, of those in which both differ. Without pairs, the
            fraction of all pairs of a run of the arm and one of the control (the probability of superiority), in which
            ties count half. None without values that differ.
        wins_interval: Exact 95 % interval of that fraction (Clopper and Pearson); None without pairs.
        compared: Number of seeds in which both differ; without pairs, number of all pairs of runs.
        ties: Number of seeds, or of pairs of runs, in which both are equal.
    """

    worse: float | None
    within: float | None
    better: float | None
    wins: float | None
    wins_interval: tuple[float, float] | None
    compared: int
    ties: int


def describe(contrast: Contrast) -> Description:
    """Return posterior probabilities and the share of wins of a contrast.

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
    share = above if contrast.paired else above + ties / 2
    return Description(
        worse=worse,
        within=within,
        better=better,
        wins=share / compared if compared else None,
        wins_interval=_exact(above, compared) if contrast.paired and compared else None,
        compared=compared,
        ties=ties,
    )


def _posterior(contrast: Contrast, sign: int) -> tuple[float, float, float] | tuple[None, None, None]:
    from scipy import special

    if contrast.margin is None or not contrast.sd or contrast.difference is None:
        return None, None, None
    if contrast.paired:
        n = len(contrast.seeds)
        error, freedom = contrast.sd / math.sqrt(n), float(n - 1)
    else:
        squares = [statistics.variance(each) / len(each) for each in (contrast.arm_values, contrast.control_values)]
        counts = [len(contrast.arm_values), len(contrast.control_values)]
        error = math.sqrt(sum(squares))
        freedom = sum(squares) ** 2 / sum(s**2 / (n - 1) for s, n in zip(squares, counts, strict=True))
    gain = sign * contrast.difference
    worse = float(special.stdtr(freedom, (-contrast.margin - gain) / error))
    better = float(special.stdtr(freedom, (gain - contrast.margin) / error))
    return worse, max(0.0, 1 - worse - better), better


def _exact(events: int, trials: int) -> tuple[float, float]:
    """Return Clopper and Pearson's interval of a rate."""
    from scipy import special

    tail = (1 - _LEVEL) / 2
    low = 0.0 if events == 0 else float(special.betaincinv(events, trials - events + 1, tail))
    high = 1.0 if events == trials else float(special.betaincinv(events + 1, trials - events, 1 - tail))
    return low, high
