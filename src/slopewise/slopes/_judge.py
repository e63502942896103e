"""One layer's slopes as a few numbers, and the alarms that these numbers raise.

Every finite slope is in one of five bands: negative, near 0, in between, near 1, above 1. The widths are those below
which f cannot be told from ReLU or from the identity in practice, and are far above the rounding of any float16 or
bfloat16 checkpoint.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:  # the constants are for records and pages, too, which do not wait for torch
    import torch
    from torch import Tensor

NEAR_0 = 0.01  # 1 % of a negative input passes; the variance that He's initialisation counts on changes by 0.0001
NEAR_1 = 0.05  # on no input does f(x) differ from x by more than 5 % of |x|
MOST = 0.5  # the share of slopes from which "near 0" and "near 1" are said of the layer: single channels often are

AlarmKind = Literal["not finite", "stuck", "negative", "above 1", "near 0", "near 1"]
ALARM_KINDS: tuple[AlarmKind, ...] = get_args(AlarmKind)
MEANINGS: Mapping[AlarmKind, str] = {
    "not finite": "NaN or infinite: training has diverged",
    "stuck": "all slopes are exactly one number: no gradient reached them, or they are frozen or at a bound",
    "negative": f"below -{NEAR_0:g} the function falls and rises: two inputs give one output",
    "above 1": f"above {1 + NEAR_1:g} negative inputs are amplified: activations and gradients can grow with depth",
    "near 0": f"most slopes are within {NEAR_0:g} of 0: the layer has become a ReLU",
    "near 1": f"most slopes are within {NEAR_1:g} of 1: the layer has become linear",
}


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


@dataclass(frozen=True, slots=True)
class Alarm:
    """What is alarming about a layer, and how many of its slopes it is about.

    Attributes:
        kind: its name; `MEANINGS` has the sentence.
        slopes: how many.
        value: of slopes that are stuck.
    """

    kind: AlarmKind
    slopes: int
    value: float | None = None

    def __str__(self) -> str:
        return self.kind if self.value is None else f"{self.kind} at {self.value:g}"


def summarise(
    slopes: Tensor, *, init: float | None = None, near_0: float = NEAR_0, near_1: float = NEAR_1
) -> SlopeSummary:
    """The summary of one layer's slopes.

    Exact equality is the evidence that slopes never moved: training moves channels apart, and moves a shared slope
    off a round number. So `same` is set where several slopes are all equal; where a shared slope is a number of two
    decimals, as initial values are (0.25, 0.1, 0); and with `init`, where all slopes are that and nothing else.

    Args:
        slopes: any shape, any floating dtype, on the CPU.
        init: the initial value, if it is known; it is compared as the slopes' dtype rounds it.
        near_0: how far from 0 a slope counts as near 0, and beyond it as negative.
        near_1: how far from 1 a slope counts as near 1, and beyond it as above 1.

    Raises:
        ValueError: `slopes` is empty.

    Example:
        >>> import torch
        >>> found = summarise(torch.tensor([-0.5, 0.0, 0.25, 0.5, 1.0]))
        >>> found.median, found.negative, found.near_0, found.near_1
        (0.25, 1, 1, 1)
    """
    if not slopes.numel():
        raise ValueError("slopes is empty")
    values = slopes.detach().flatten().double()
    # A monitor does this for every layer of every sample: one sort, and Python for the rest.
    finite: list[float] = values[values.isfinite()].sort().values.tolist()
    low, lower, median, upper, high = (_quantile(finite, quarter / 4) for quarter in range(5))
    return SlopeSummary(
        count=values.numel(),
        finite=len(finite),
        minimum=low,
        lower_quartile=lower,
        median=median,
        upper_quartile=upper,
        maximum=high,
        mean=sum(finite) / len(finite) if finite else math.nan,
        negative=sum(value < -near_0 for value in finite),
        near_0=sum(abs(value) <= near_0 for value in finite),
        near_1=sum(abs(value - 1) <= near_1 for value in finite),
        above_1=sum(value > 1 + near_1 for value in finite),
        same=_same(values, slopes.dtype, init),
        rounded=slopes.dtype.itemsize < 4,
    )


def _quantile(ordered: Sequence[float], share: float) -> float:
    """Linear between the two nearest values; NaN of none."""
    if not ordered:
        return math.nan
    place = share * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def alarms(summary: SlopeSummary) -> tuple[Alarm, ...]:
    """What is alarming about a layer with this summary, the most serious first.

    - not finite: any slope.
    - stuck: all are `summary.same`. Not said of float16 and bfloat16, where slopes that did move by less than a
      thousandth are equal, too.
    - negative, above 1: any slope.
    - near 0, near 1: at least the share MOST of them. Not said of slopes that are stuck there.

    Example:
        >>> import torch
        >>> [str(alarm) for alarm in alarms(summarise(torch.full((8,), 0.25)))]
        ['stuck at 0.25']
        >>> [str(alarm) for alarm in alarms(summarise(torch.tensor([-0.3, 0.0, 0.002])))]
        ['negative', 'near 0']
    """
    count, stuck = summary.count, summary.same is not None and not summary.rounded
    found: list[tuple[AlarmKind, int, bool]] = [
        ("not finite", count - summary.finite, summary.finite < count),
        ("stuck", count, stuck),
        ("negative", summary.negative, summary.negative > 0),
        ("above 1", summary.above_1, summary.above_1 > 0),
        ("near 0", summary.near_0, not stuck and summary.near_0 >= MOST * count),
        ("near 1", summary.near_1, not stuck and summary.near_1 >= MOST * count),
    ]
    return tuple(
        Alarm(kind, slopes, summary.same if kind == "stuck" else None) for kind, slopes, raised in found if raised
    )


def _same(values: Tensor, dtype: torch.dtype, init: float | None) -> float | None:
    import torch

    first = values[0]
    if not first.isfinite() or (values != first).any():
        return None
    candidate = round(first.item(), 2) if init is None else init
    if first == torch.tensor(candidate, dtype=torch.float64).to(dtype).double():
        return candidate
    return first.item() if init is None and values.numel() > 1 else None
