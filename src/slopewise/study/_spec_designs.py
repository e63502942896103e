"""Tables of a spec beyond arms and seeds: adaptive seeds, tuning, a sensitivity map, factors."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from slopewise.study._spec_values import Real, Table, Whole
from slopewise.support import quoted

MOST_SEEDS_TO_DECIDE = 40  # default number of seeds of an adaptive study
_LOOKS = (0.25, 0.4, 0.6, 1.0)  # default looks, as fractions of the seeds
_CROSSED = ("train.", "model.options.", "data.augment.", "arm.")
_CROSSED_WHOLE = ("model.name", "data.train_size")
_KEY = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
_NOT_CROSSED = ("train.function", "arm.name", "arm.start")

Rate = Annotated[Real, Field(gt=0)]


class UntilDecidedSpec(Table):
    """Adaptive number of seeds: an arm gets no further seeds once a look has decided its verdict.

    Attributes:
        looks: Numbers of seeds after which the study looks at its results, ascending; the last one must be the number
            of all seeds. None stands for 25 %, 40 %, 60 % and 100 % of the seeds, rounded up, each at least 2.
    """

    looks: Annotated[tuple[Annotated[Whole, Field(ge=2)], ...], Field(min_length=1, max_length=20)] | None = None


def most_seeds(table: object) -> int:
    """Return the largest number of seeds of an adaptive study whose spec does not give it: that of its last look.

    Example:
        >>> most_seeds({"looks": [8, 12, 20]}), most_seeds(True)
        (20, 40)
    """
    looks = table.get("looks") if isinstance(table, Mapping) else getattr(table, "looks", None)
    match looks:
        case [*_, int(last)] if last > 0 and last is not True:
            return last
    return MOST_SEEDS_TO_DECIDE


def default_looks(seeds: int) -> tuple[int, ...]:
    """Return the looks of an adaptive study whose spec does not give them.

    Example:
        >>> default_looks(40), default_looks(3)
        ((10, 16, 24, 40), (2, 3))
    """
    return tuple(sorted({min(seeds, max(2, math.ceil(part * seeds))) for part in _LOOKS}))


def with_looks(fields: Mapping[str, Any], seeds: int) -> dict[str, Any]:
    """Return the plain data of an adaptive spec with its looks filled in; `until_decided = true` means defaults."""
    table = fields["until_decided"]
    table = {} if table is True else table.model_dump() if isinstance(table, UntilDecidedSpec) else table
    if not isinstance(table, Mapping):
        raise ValueError(f"until_decided: must be true, or a table as in {{ looks = [10, 20] }}, got {quoted(table)}")
    if table.get("looks") is None:
        table = {**table, "looks": default_looks(seeds)}
    return {**fields, "until_decided": table}


def check_looks(looks: tuple[int, ...], seeds: int) -> None:
    """Check that looks are ascending and that the last look is after all seeds.

    Raises:
        ValueError: They are not ascending, or the last look is at another number of seeds.
    """
    if list(looks) != sorted(set(looks)):
        raise ValueError(f"until_decided.looks: numbers of seeds must be ascending, got {quoted(list(looks))}")
    if looks[-1] != seeds:
        raise ValueError(
            f"until_decided.looks: the last look must be after all {seeds} seeds of the study, got {looks[-1]}; "
            f"set seeds = {looks[-1]}, or end the looks with {seeds}"
        )


class TuneSpec(Table):
    """Tuning of the learning rate of each arm, on separate seeds, before the study's own trials.

    Every arm is trained with the same learning rates and the same seeds. The study then trains each arm with the peak
    learning rate that had the best mean final score on the validation part. Arms that set `lr` are not tuned.

    Attributes:
        lr: Lowest and highest learning rate.
        points: Number of rates: points of a quasirandom (Sobol) sequence over the logarithm of the range, which covers
            the range evenly for any number of points.
        seeds: Number of seeds per rate. They are 1000000, 1000001, ..., so that tuning never uses the study's own.
        widen: Largest number of times that the range is widened, by two rates at each edge at which an arm is best. If
            the best rate is at an edge even then, the study stops with an error.
        stable: True to pass over the lowest rate at which a trial of the arm diverged, the next lower rate, and all
            higher rates, because a few seeds may miss that a rate diverges now and then. False to use the best mean
            score alone.
    """

    lr: tuple[Rate, Rate]
    points: Annotated[Whole, Field(ge=3, le=1000)] = 8
    seeds: Annotated[Whole, Field(ge=1, le=1000)] = 3
    widen: Annotated[Whole, Field(ge=0, le=10)] = 2
    stable: bool = True

    @model_validator(mode="after")
    def _ascending(self) -> TuneSpec:
        if self.lr[0] >= self.lr[1]:
            raise ValueError(f"tune.lr: the lower rate must come first, as in [0.001, 1], got {quoted(list(self.lr))}")
        return self


class MapSpec(Table):
    """Sensitivity map: arms trained at each learning rate and, if they learn slopes, from each initial slope.

    Attributes:
        lr: Learning rates.
        init: Initial slopes, passed to the activation as its option `init`.
        arms: Names of the arms. None stands for the control and all arms with the activation `prelu_shared` or
            `prelu_channel` that do not start from another arm. An activation of your own gets the option `init`, too.
        seeds: Number of seeds, taken from the beginning of the study's seeds.
    """

    lr: Annotated[tuple[Rate, ...], Field(min_length=1, max_length=1000)]
    init: Annotated[tuple[Real, ...], Field(min_length=1, max_length=1000)] = (0.0, 0.1, 0.25, 0.5)
    arms: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    seeds: Annotated[Whole, Field(ge=1)] = 3


class FactorSpec(Table):
    """Factor crossed with the arms: the arms of the study under other values of one setting.

    Attributes:
        setting: Dotted key of the setting: `train.*`, `model.options.*`, `data.augment.*`, `model.name`,
            `data.train_size`, or, with the prefix `arm.`, a setting of every arm such as `arm.slope_lr_scale`.
        values: Values of the setting besides the study's own.
        arms: Names of the arms; None stands for all arms.
        seeds: Number of seeds, taken from the beginning of the study's seeds; None stands for 10, or all if there are
            fewer.
    """

    setting: Annotated[str, Field(min_length=1, max_length=200)]
    values: Annotated[
        tuple[Any, ...],
        BeforeValidator(lambda values: values if isinstance(values, (list, tuple)) else (values,)),
        Field(min_length=1, max_length=1000),
    ]
    arms: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    seeds: Annotated[Whole, Field(ge=1)] | None = None

    @model_validator(mode="after")
    def _crosses(self) -> FactorSpec:
        free = self.setting in _CROSSED_WHOLE or self.setting.startswith(_CROSSED)
        if not free or self.setting.startswith(_NOT_CROSSED) or not _KEY.fullmatch(self.setting):
            raise ValueError(
                f"factors: {quoted(self.setting)} cannot be crossed with the arms; train.*, model.options.*, "
                "model.name, data.train_size, data.augment.* and arm.* can"
            )
        return self
