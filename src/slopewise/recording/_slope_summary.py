"""One layer's slopes as a few numbers.

Every finite slope is in one of five bands: negative, near 0, in between, near 1, above 1. The widths are those below
which f cannot be told from ReLU or from the identity in practice, and are far above the rounding of any float16 or
bfloat16 checkpoint.
"""

from __future__ import annotations

from dataclasses import dataclass

NEAR_0 = 0.01  # 1 % of a negative input passes; the variance that He's initialisation counts on changes by 0.0001
NEAR_1 = 0.05  # on no input does f(x) differ from x by more than 5 % of |x|
LARGEST = 100.0  # trained slopes of 2 and 3 are met, of 10 hardly
MOST = 0.5  # the share of slopes from which "near 0" and "near 1" are said of the layer: single channels often are


@dataclass(frozen=True, slots=True)
class SlopeSummary:
    """A layer's slopes as numbers. Quantiles, mean and ends are over the finite slopes, NaN if there are none.

    Attributes:
        count: of slopes; 1 is a shared slope.
        finite: how many are neither NaN nor infinite.
        negative, near_0, near_1, above_1: how many lie below -NEAR_0, within NEAR_0 of 0, within NEAR_1 of 1, above
            1 + NEAR_1. The rest lies between.
        same: the number that all slopes exactly are, if they are and that is a sign of not being trained.
        rounded: the dtype keeps so few digits that `same` is no sign of that.
    """

    count: int
    finite: int
    minimum: float
    lower_quartile: float
    median: float
    upper_quartile: float
    maximum: float
    mean: float
    negative: int
    near_0: int
    near_1: int
    above_1: int
    same: float | None
    rounded: bool

    @property
    def untrained(self) -> bool:
        """True if all slopes are exactly one number, in a way and a dtype that make this a sign of no training."""
        return self.same is not None and not self.rounded
