"""Summary of one layer's slopes, and the alarms that it raises."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slopewise.recording import NEAR_0, NEAR_1, SlopeSummary
from slopewise.recording.alarms import AlarmId, Thresholds, rules

if TYPE_CHECKING:
    import torch
    from torch import Tensor

AlarmKind = str


@dataclass(frozen=True, slots=True)
class Alarm:
    """An alarm about a layer's slopes.

    Attributes:
        kind: Name of the alarm; `MEANINGS` explains it.
        slopes: Number of slopes that it concerns.
        value: Common value of slopes that are stuck; None for other alarms.
    """

    kind: AlarmKind
    slopes: int
    value: float | None = None

    def __str__(self) -> str:
        return self.kind if self.value is None else f"{self.kind} at {self.value:g}"


def summarise(
    slopes: Tensor, *, init: float | None = None, near_0: float = NEAR_0, near_1: float = NEAR_1
) -> SlopeSummary:
    """Summarise one layer's slopes.

    Exact equality is the evidence that slopes never moved: training moves channels apart, and moves a shared slope
    off a round number. So `same` is set if several slopes are all equal; if a single slope is a number of two decimals,
    as initial values are (0.25, 0.1, 0); and, if `init` is given, only if all slopes equal it.

    Args:
        slopes: Slopes of any shape and any floating dtype, on the CPU.
        init: Initial value, if known; it is compared as the slopes' dtype rounds it.
        near_0: Largest distance from 0 of a slope that counts as near 0; one further below counts as negative.
        near_1: Largest distance from 1 of a slope that counts as near 1; one further above counts as above 1.

    Raises:
        ValueError: `slopes` is empty.

    Example:
        >>> import torch
        >>> summary = summarise(torch.tensor([-0.5, 0.0, 0.25, 0.5, 1.0]))
        >>> summary.median, summary.negative, summary.near_0, summary.near_1
        (0.25, 1, 1, 1)
    """
    if not slopes.numel():
        raise ValueError("slopes is empty")
    # A monitor does this for every layer in every sampled step: for so few numbers Python is quicker.
    values: list[float] = slopes.detach().flatten().double().tolist()
    finite = sorted(filter(math.isfinite, values))
    low, lower, median, upper, high = (_quantile(finite, quarter / 4) for quarter in range(5))
    return SlopeSummary(
        count=len(values),
        finite=len(finite),
        minimum=low,
        lower_quartile=lower,
        median=median,
        upper_quartile=upper,
        maximum=high,
        mean=sum(finite) / len(finite) if finite else math.nan,
        negative=bisect_left(finite, -near_0),
        near_0=bisect_right(finite, near_0) - bisect_left(finite, -near_0),
        near_1=bisect_right(finite, near_1, key=_beyond_1) - bisect_left(finite, -near_1, key=_beyond_1),
        above_1=len(finite) - bisect_right(finite, 1 + near_1),
        same=_same(values, slopes.dtype, init),
        rounded=slopes.dtype.itemsize < 4,
        below_0=bisect_left(finite, 0.0),
        beyond_1=len(finite) - bisect_right(finite, 1.0),
    )


def _beyond_1(value: float) -> float:
    return value - 1


def _quantile(ordered: Sequence[float], share: float) -> float:
    """Interpolate a quantile linearly between the two nearest values; NaN if there are none."""
    if not ordered:
        return math.nan
    place = share * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def alarms(summary: SlopeSummary, thresholds: Thresholds | None = None) -> tuple[Alarm, ...]:
    """Return the alarms of a layer with this summary, the most serious first.

    These are the monitor's alarms, as far as slopes alone can tell: the same rules judge both.

    - not finite: any slope is NaN or infinite.
    - negative, above 1: at least half of the slopes are, beyond the margins of the summary.
    - near 0, near 1: at least half of the slopes are. Not raised for slopes that are stuck: these began there.
    - stuck: all slopes equal `summary.same`. Not raised for float16 and bfloat16, which round slopes that moved by less
      than a thousandth to the same value.

    Args:
        summary: Summary of the layer's slopes, with the margins of `thresholds`.
        thresholds: Thresholds of slopewise's rules, and the alarms to ignore.

    Example:
        >>> import torch
        >>> [str(alarm) for alarm in alarms(summarise(torch.full((8,), 0.25)))]
        ['stuck at 0.25']
        >>> [str(alarm) for alarm in alarms(summarise(torch.tensor([-0.3, 0.0, 0.002])))]
        ['near 0']
    """
    thresholds = thresholds or Thresholds()
    judged = ((rule, rule.from_slopes(summary)) for rule in thresholds.rules() if rule.id not in thresholds.ignore)
    return tuple(Alarm(alarm_kind(rule.id), *concerned) for rule, concerned in judged if concerned is not None)


def alarm_kind(alarm: AlarmId) -> AlarmKind:
    """Return the name of a monitor's alarm among those about slopes.

    Example:
        >>> alarm_kind("slope-near-0"), alarm_kind("not-finite")
        ('near 0', 'not finite')
    """
    return alarm.removeprefix("slope-").replace("-", " ")


class _Meanings(Mapping[AlarmKind, str]):
    """Meanings of the alarms that slopes alone can raise, the most serious first, by all rules of the moment."""

    def __getitem__(self, kind: AlarmKind) -> str:
        return {alarm_kind(rule.id): rule.meaning for rule in rules() if rule.meaning}[kind]

    def __iter__(self) -> Iterator[AlarmKind]:
        return (alarm_kind(rule.id) for rule in rules() if rule.meaning)

    def __len__(self) -> int:
        return sum(bool(rule.meaning) for rule in rules())


MEANINGS: Mapping[AlarmKind, str] = _Meanings()
ALARM_KINDS: tuple[AlarmKind, ...] = tuple(MEANINGS)


def _same(values: Sequence[float], dtype: torch.dtype, init: float | None) -> float | None:
    first = values[0]
    if not math.isfinite(first) or any(value != first for value in values):
        return None
    candidate = round(first, 2) if init is None else init
    if first == _rounded(candidate, dtype):
        return candidate
    return first if init is None and len(values) > 1 else None


def _rounded(value: float, dtype: torch.dtype) -> float:
    import torch

    return torch.tensor(value, dtype=torch.float64).to(dtype).item()
