"""Performance targets of the kernels and layers, as ratios within one run on two threads.

The fused layers are those of `convert(fuse=True)`, which keep their outputs: low memory.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import prod
from typing import Any

from slopewise.bench._functions import (
    BN_FUSED_LOW_MEMORY,
    BN_PRELU_COMPILED,
    BN_RELU,
    COPY,
    F_PRELU,
    F_RELU,
    OUR_PRELU,
)
from slopewise.bench._measurement import Measurement
from slopewise.bench._memory import SAVED
from slopewise.bench._models import COMPILED, CONVOLUTIONS, FUSED_LOW_MEMORY, RELU
from slopewise.bench._watching import EVERY, MANY, NOTHING, RARELY, STEP
from slopewise.timing import Ratio


@dataclass(frozen=True, slots=True)
class Target:
    """A target: the largest acceptable ratio of one candidate's figures to another's.

    Attributes:
        words: Description of the comparison, for readers.
        question: Name of the benchmark.
        of: Candidate in the ratio's numerator.
        to: Candidate in the ratio's denominator.
        at_most: Largest ratio that meets the target.
        where: Conditions that a case must include to be covered.
        large: If True, only inputs of more than a million elements are covered.
    """

    words: str
    question: str
    of: str
    to: str
    at_most: float
    where: dict[str, str] = field(default_factory=dict)
    large: bool = False

    def covers(self, measurement: Measurement) -> bool:
        """Return True if the target applies to this case, and both candidates were measured in it."""
        return (
            measurement.question == self.question
            and {self.of, self.to} <= measurement.values.keys()
            and self.where.items() <= measurement.case.items()
            and (not self.large or prod(map(int, measurement.case["size"].split("x"))) > 1_000_000)
        )


_BOTH = {"pass": "both"}
_FLOAT = {"pass": "both", "dtype": "float32"}
_SMALL = {"pass": "both", "size": "8x8x8x8"}
_STEP = {"network": "resnet20", "layout": "channels_last", "batch": "batch 128"}
_WATCHED = {"network": "resnet20", "batch": "batch 128"}
_BN, _NET = "batch_norm_prelu", "training step"
# Copying and adding make five passes over memory: at most 10, 10 and 13 are to be needed at the sizes of ResNet-20.
_PASSES = {"128x16x32x32": 2.0, "128x32x16x16": 2.0, "128x64x8x8": 2.6}
_LAYERS = [{**_FLOAT, "residual": "no residual", "size": size} for size in _PASSES]

TARGETS = (
    Target("prelu / F.relu", "prelu", OUR_PRELU, F_RELU, 1.3, _BOTH, large=True),
    Target("prelu / F.prelu", "prelu", OUR_PRELU, F_PRELU, 1 / 6, _BOTH, large=True),
    Target("prelu / F.prelu at 8x8x8x8", "prelu", OUR_PRELU, F_PRELU, 1.1, _SMALL),
    *(Target("BatchNorm+PReLU / BatchNorm+ReLU(inplace)", _BN, BN_FUSED_LOW_MEMORY, BN_RELU, 0.75, x) for x in _LAYERS),
    *(
        Target("BatchNorm+PReLU / copying the bytes", _BN, BN_FUSED_LOW_MEMORY, COPY, _PASSES[x["size"]], x)
        for x in _LAYERS
    ),
    Target("BatchNorm+PReLU / compiled", _BN, BN_FUSED_LOW_MEMORY, BN_PRELU_COMPILED, 1.0, _FLOAT, large=True),
    Target("ResNet-20 step, PReLU / ReLU", _NET, FUSED_LOW_MEMORY, RELU, 0.9, _STEP),
    Target("ResNet-20 step, PReLU / ReLU compiled", _NET, FUSED_LOW_MEMORY, RELU + COMPILED, 1.0, _STEP),
    Target("ResNet-20 step, PReLU / convolutions alone", _NET, FUSED_LOW_MEMORY, CONVOLUTIONS, 1.15, _STEP),
    Target("ResNet-20 step, monitor every=1 / none", STEP, EVERY, NOTHING, 1.05, _WATCHED),
    Target("ResNet-20 step, monitor every=50 / none", MANY, RARELY, NOTHING, 1.01, _WATCHED),
    Target("ResNet-20, bytes saved, PReLU of fuse=True / ReLU", SAVED, FUSED_LOW_MEMORY, RELU, 0.55, _WATCHED),
    Target("bytes saved, low-memory PReLU / ReLU", SAVED, FUSED_LOW_MEMORY, RELU, 0.6, {"batch": "batch 128"}),
)


@dataclass(frozen=True, slots=True)
class Finding:
    """A target and one case that it covers."""

    target: Target
    case: dict[str, str]
    ratio: Ratio

    @property
    def holds(self) -> bool:
        """True if the median ratio meets the target."""
        return self.ratio.median <= self.target.at_most

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        ratio = [round(value, 4) for value in (self.ratio.median, self.ratio.low, self.ratio.high)]
        target = {"what": self.target.words, "at_most": round(self.target.at_most, 4)}
        return {**target, "case": self.case, "ratio": ratio, "holds": self.holds}


def judge(measurements: Iterable[Measurement], targets: Iterable[Target] = TARGETS) -> list[Finding]:
    """Judge every target in every case that it covers, in the order of the targets.

    Example:
        >>> step = {"ReLU": (2.0, 2.0), "slopewise fused low_memory": (1.7, 1.9)}
        >>> case = {"network": "resnet20", "layout": "channels_last", "batch": "batch 128"}
        >>> [(f.target.at_most, f.holds) for f in judge([Measurement("training step", case, step, "s")])]
        [(0.9, True)]
    """
    measurements = list(measurements)
    return [
        Finding(target, dict(measurement.case), measurement.ratio(target.of, target.to))
        for target in targets
        for measurement in measurements
        if target.covers(measurement)
    ]
