"""One layer's slopes as a few numbers.

Every finite slope lies in one of five bands: negative, near 0, between, near 1, above 1. Within the bands near 0 and 1,
f cannot be told from ReLU or from the identity in practice. Their widths are far above the rounding of a float16 or
bfloat16 checkpoint.
"""

from __future__ import annotations

from dataclasses import dataclass

NEAR_0 = 0.01  # 1 % of a negative input passes; the variance that He's initialisation counts on changes by 0.0001
NEAR_1 = 0.05  # on no input does f(x) differ from x by more than 5 % of |x|
LARGEST = 100.0  # training leads to slopes of 2 or 3, hardly ever to 10
MOST = 0.5  # minimum fraction of a layer's slopes in a band for an alarm: single channels are there often


@dataclass(frozen=True, slots=True)
class SlopeSummary:
    """A layer's slopes as numbers; quantiles and mean are over the finite slopes, and NaN if there are none.

    Attributes:
        count: Number of slopes; 1 for a shared slope.
        finite: Number of slopes that are neither NaN nor infinite.
        minimum: Lowest slope.
        lower_quartile: Quantile 0.25.
        median: Quantile 0.5.
        upper_quartile: Quantile 0.75.
        maximum: Highest slope.
        mean: Mean of the slopes.
        negative: Number of slopes below -NEAR_0, or below the margin that `summarise` was given.
        near_0: Number of slopes within that margin of 0.
        near_1: Number of slopes within NEAR_1 of 1, or within the margin that `summarise` was given.
        above_1: Number of slopes further above 1.
        same: Number that all slopes equal exactly, if that is a sign of no training; None otherwise.
        rounded: True if the dtype keeps so few digits that `same` is no such sign.
        below_0, beyond_1: Numbers of finite slopes less than 0 and greater than 1, without any tolerance; None in
            recordings of earlier versions.
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
    below_0: int | None = None
    beyond_1: int | None = None

    @property
    def untrained(self) -> bool:
        """True if all slopes are exactly one number, in a way and a dtype that make this a sign of no training."""
        return self.same is not None and not self.rounded
