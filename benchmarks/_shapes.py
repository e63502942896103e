"""Accuracies of simulated studies whose true differences are known, for benchmarks/coverage.py.

Each study has one control, some arms and n seeds. A trial that diverges is NaN, one that is missing infinite.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Noise = Callable[[np.random.Generator, tuple[int, ...]], Array]

BASE, CEILING, CHANCE = 95.0, 99.5, 10.0  # percent: the control's mean, the same near the ceiling, guessing
BOUNDED = 98.5  # percent: the control's mean of a metric that ends at 100, such as Dice
SEED_SD, NOISE_SD = 0.25, 0.4  # points: shared by the arms of a seed; each trial's own
_LOG_SD = 0.8  # of the logarithm of log-normal noise, whose skewness is then 3.7


def _normal(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return NOISE_SD * rng.standard_normal(shape)


def _exponential(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Draw noise with its tail towards low accuracy, skewness -2."""
    return NOISE_SD * (1 - rng.standard_exponential(shape))


def _log_normal(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Draw noise with a longer tail towards low accuracy, scaled to the same standard deviation."""
    mean = math.exp(_LOG_SD**2 / 2)
    sd = mean * math.sqrt(math.exp(_LOG_SD**2) - 1)
    return NOISE_SD * (mean - np.exp(_LOG_SD * rng.standard_normal(shape))) / sd


def _narrow(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return 0.5 * _normal(rng, shape)


def _beta(rng: np.random.Generator, mean: float, shape: tuple[int, ...]) -> Array:
    """Draw percentages of a beta distribution with the mean, and the standard deviation of a trial's own noise."""
    share = mean / 100
    size = share * (1 - share) / (NOISE_SD / 100) ** 2 - 1
    return 100 * rng.beta(share * size, (1 - share) * size, shape)


@dataclass(frozen=True)
class Shape:
    """One way in which accuracies vary.

    Attributes:
        name: Name in the tables.
        group: Group of shapes that it is an example of.
        arm: Noise of the arms, with mean 0.
        control: Noise of the control.
        images: Size of the test set, on whose grid accuracies lie; 0 for none.
        ceiling: True if errors are counts with a mean near 0 (Poisson) instead.
        bounded: True if values follow a beta distribution, which ends at 0 and 100.
        arm_diverges, control_diverges: Probability that a trial diverges.
        missing: Probability that a trial is missing, whatever its score would have been.
    """

    name: str
    group: Literal["alike", "lopsided", "ceiling", "divergence", "bounded", "missing"]
    arm: Noise = _normal
    control: Noise = _normal
    images: int = 0
    ceiling: bool = False
    bounded: bool = False
    arm_diverges: float = 0.0
    control_diverges: float = 0.0
    missing: float = 0.0

    @property
    def resolution(self) -> float:
        """Points that one test image is worth."""
        return 100 / self.images if self.images else 0.0

    def accuracies(
        self, rng: np.random.Generator, studies: int, arms: int, n: int, shift: float
    ) -> tuple[Array, Array]:
        """Draw accuracies in percent: the arms' of shape (studies, arms, n), the control's of shape (studies, 1, n)."""
        if self.ceiling:
            arm, control = (
                100 - self.resolution * rng.poisson((100 - mean) / self.resolution, (studies, count, n))
                for mean, count in ((min(CEILING + shift, 100.0), arms), (CEILING, 1))
            )
            return arm, control
        if self.bounded:
            arm = _beta(rng, BOUNDED + shift, (studies, arms, n))
            return arm, _beta(rng, BOUNDED, (studies, 1, n))
        seed = BASE + SEED_SD * rng.standard_normal((studies, 1, n))
        arm = seed + shift + self.arm(rng, (studies, arms, n))
        control = seed + self.control(rng, (studies, 1, n))
        if self.images:
            arm, control = (100 * np.rint(values * self.images / 100) / self.images for values in (arm, control))
        arm[rng.random(arm.shape) < self.arm_diverges] = np.nan
        control[rng.random(control.shape) < self.control_diverges] = np.nan
        if self.missing:  # further draws would change the numbers of other shapes
            arm[rng.random(arm.shape) < self.missing] = np.inf
            control[rng.random(control.shape) < self.missing] = np.inf
        return arm, control

    def runs(
        self, rng: np.random.Generator, studies: int, arms: int, n: int, m: int, shift: float
    ) -> tuple[Array, Array]:
        """Draw accuracies that nothing pairs: of shape (studies, arms, n), and the control's of (studies, 1, m)."""
        arm = [self.accuracies(rng, studies, 1, n, shift)[0] for _ in range(arms)]
        return np.concatenate(arm, axis=1), self.accuracies(rng, studies, 1, m, 0.0)[1]

    def truth(self, shift: float) -> float:
        """Return the true mean difference over the seeds that not both lose; a lost trial counts as chance."""
        if self.ceiling:
            return min(shift, 100 - CEILING)
        a, c = self.arm_diverges, self.control_diverges
        kept = (1 - a) * (1 - c) * shift + a * (1 - c) * (CHANCE - BASE) + (1 - a) * c * (BASE + shift - CHANCE)
        return kept / (1 - a * c)

    def runs_truth(self, shift: float) -> float:
        """Return the true difference of the means of unpaired runs; a lost one counts as chance."""
        if self.ceiling:
            return min(shift, 100 - CEILING)
        a, c = self.arm_diverges, self.control_diverges
        return (1 - a) * (BASE + shift) + a * CHANCE - (1 - c) * BASE - c * CHANCE

    @property
    def exchangeable(self) -> bool:
        """Return True if arms and control are alike without a shift: an A/A study."""
        return self.arm is self.control and self.arm_diverges == self.control_diverges


SHAPES = {
    shape.name: shape
    for shape in (
        Shape("normal", "alike"),
        Shape("skewed", "alike", _exponential, _exponential),
        Shape("grid 1/360", "alike", images=360),
        Shape("grid 1/100", "alike", images=100),
        Shape("arms skewed", "lopsided", _exponential, _narrow),
        Shape("control skewed", "lopsided", _narrow, _exponential),
        Shape("arms log-normal", "lopsided", _log_normal, _narrow),
        Shape("control log-normal", "lopsided", _narrow, _log_normal),
        Shape("ceiling 1/100", "ceiling", images=100, ceiling=True),
        Shape("ceiling 1/360", "ceiling", images=360, ceiling=True),
        Shape("ceiling 1/1000", "ceiling", images=1000, ceiling=True),
        Shape("bounded", "bounded", bounded=True),
        Shape("10 % missing", "missing", missing=0.1),
        Shape("10 % diverge in all", "divergence", arm_diverges=0.1, control_diverges=0.1),
        Shape("10 % diverge in arms", "divergence", arm_diverges=0.1),
        Shape("10 % diverge in control", "divergence", control_diverges=0.1),
        Shape("2 % diverge in arms", "divergence", arm_diverges=0.02),
        Shape("1 % diverge in arms", "divergence", arm_diverges=0.01),
        Shape("2 % diverge in control", "divergence", control_diverges=0.02),
    )
}
