"""The result of every benchmark: a case, and the figures of each candidate in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

from slopewise.timing import Ratio, ratio

Unit = Literal["s", "B", "faults"]


@dataclass(frozen=True, slots=True)
class Measurement:
    """The candidates' figures in one case.

    Attributes:
        question: Name of the benchmark, such as "prelu" or "training step".
        case: Conditions of the measurement, such as {"size": "64x64x32x32", "layout": "channels_last"}.
        values: Figures by candidate, one for each round, in `unit`. The first candidate is the baseline.
        unit: Unit of the figures: "s" for seconds per call, "B" for bytes, "faults" for page faults per call.

    Example:
        >>> steps = Measurement("training step", {"network": "cnn"}, {"ReLU": (2.0, 4.0), "PReLU": (3.0, 6.0)}, "s")
        >>> steps.ratio("PReLU").median, steps.median("ReLU")
        (1.5, 3.0)
    """

    question: str
    case: Mapping[str, str]
    values: Mapping[str, tuple[float, ...]]
    unit: Unit

    @property
    def base(self) -> str:
        """Baseline: the candidate that the others are compared with."""
        return next(iter(self.values))

    def ratio(self, of: str, to: str | None = None) -> Ratio:
        """Return the ratio of one candidate's figures to another's, by default to the baseline's."""
        return ratio(self.values[of], self.values[self.base if to is None else to])

    def median(self, of: str) -> float:
        """Return the median of the candidate's figures over the rounds."""
        return median(self.values[of])

    def to_json(self) -> dict[str, Any]:
        """Return plain values: the medians, and [median, low quartile, high quartile] of each ratio to the baseline.

        Page faults have no ratios: there may be none.
        """
        ratios = {} if self.unit == "faults" else {name: self.ratio(name) for name in self.values}
        return {
            "question": self.question,
            "case": dict(self.case),
            "unit": self.unit,
            "rounds": len(self.values[self.base]),
            "median": {name: _rounded(self.median(name)) for name in self.values},
            "base": self.base,
            "ratio_to_base": {name: [_rounded(x) for x in (r.median, r.low, r.high)] for name, r in ratios.items()},
        }


Job = tuple[str, Callable[[], list[Measurement]]]
"""A description of a measurement, and the function that makes it."""


def run_jobs(jobs: Iterable[Job], say: Callable[[str], None]) -> list[Measurement]:
    """Run the jobs one after another, and announce each with its number and description.

    Example:
        >>> measurements = run_jobs([("nothing", list), ("nothing again", list)], print)
        1/2 nothing
        2/2 nothing again
    """
    jobs = list(jobs)
    measurements = []
    for number, (words, measure) in enumerate(jobs, start=1):
        say(f"{number}/{len(jobs)} {words}")
        measurements += measure()
    return measurements


def _rounded(value: float) -> float:
    """Round to four significant figures: more would be noise."""
    return float(f"{value:.4g}")
