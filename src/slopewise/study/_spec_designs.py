"""The tables of a spec that ask for more than arms x seeds: adaptive seeds, tuning, a sensitivity map, factors."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from slopewise.study._spec_values import Real, Table, Whole
from slopewise.support import quoted

MOST_SEEDS_TO_DECIDE = 40  # seeds of an adaptive study, unless the spec says how many
_LOOKS = (0.25, 0.4, 0.6, 1.0)  # fractions of the seeds after which it looks
_CROSSED = ("train.", "model.options.", "data.augment.", "arm.")
_CROSSED_WHOLE = ("model.name", "data.train_size")
_NOT_CROSSED = ("train.function", "arm.name", "arm.start")

Rate = Annotated[Real, Field(gt=0)]


class UntilDecidedSpec(Table):
    """Adaptive number of seeds: after each look, arms whose verdict is known get no further seeds.

    Attributes:
        looks: Numbers of seeds after which the study looks, ascending; the last one is the number of all seeds. None
            looks after a quarter, two fifths and three fifths of the seeds, and after all of them.
    """

    looks: Annotated[tuple[Annotated[Whole, Field(ge=2)], ...], Field(min_length=1, max_length=20)] | None = None


def default_looks(seeds: int) -> tuple[int, ...]:
    """Return the numbers of seeds after which an adaptive study looks, unless its spec names them.

    Example:
        >>> default_looks(40), default_looks(3)
        ((10, 16, 24, 40), (2, 3))
    """
    return tuple(sorted({min(seeds, max(2, math.ceil(part * seeds))) for part in _LOOKS}))


def with_looks(fields: Mapping[str, Any], seeds: int) -> dict[str, Any]:
    """Return an adaptive spec's plain data with its looks spelled out; `until_decided = true` takes the defaults."""
    table = fields["until_decided"]
    table = {} if table is True else table.model_dump() if isinstance(table, UntilDecidedSpec) else table
    if isinstance(table, Mapping) and table.get("looks") is None:
        table = {**table, "looks": default_looks(seeds)}
    return {**fields, "until_decided": table}


def check_looks(looks: tuple[int, ...], seeds: int) -> None:
    """Refuse looks that are not ascending, or that do not end with the last seed.

    Raises:
        ValueError: They are not, or do not.
    """
    if list(looks) != sorted(set(looks)):
        raise ValueError(f"until_decided.looks: {quoted(list(looks))} are not ascending numbers of seeds")
    if looks[-1] != seeds:
        raise ValueError(
            f"until_decided.looks: the last look, after {looks[-1]} seeds, must be after all {seeds} seeds of the study"
        )


class TuneSpec(Table):
    """Learning rate tuned for each arm, on seeds of their own, before the study's trials.

    Every arm is trained with the same learning rates from the same seeds. The rate whose mean final score on the
    validation part is best is the arm's peak learning rate in the study; arms with a rate of their own keep it.

    Attributes:
        lr: Lowest and highest learning rate.
        points: Number of rates, spread evenly over the logarithm of the range by a quasirandom (Sobol) sequence, which
            fills it at any number of points.
        seeds: Number of seeds per rate, which are 1000000, 1000001, ...: the study's own are never tuned on.
        widen: Number of times that the range is widened by two rates if an arm's best rate is at its edge. If it still
            is, the study is refused.
        stable: True to pass over the lowest rate at which a trial of the arm diverged, its lower neighbour among the
            tried rates, and all higher ones: few seeds do not show that a rate breaks now and then. False takes the
            best mean score alone.
    """

    lr: tuple[Rate, Rate]
    points: Annotated[Whole, Field(ge=3, le=1000)] = 8
    seeds: Annotated[Whole, Field(ge=1, le=1000)] = 3
    widen: Annotated[Whole, Field(ge=0, le=10)] = 2
    stable: bool = True

    @model_validator(mode="after")
    def _ascending(self) -> TuneSpec:
        if self.lr[0] >= self.lr[1]:
            raise ValueError(f"tune.lr: write the lower rate first, as in [0.001, 1]; it is {quoted(list(self.lr))}")
        return self


class MapSpec(Table):
    """Sensitivity map: arms trained at each learning rate, and those with learned slopes at each initial slope.

    Attributes:
        lr: Learning rates.
        init: Initial slopes; they are the option `init` of an arm's activation.
        arms: Names of the arms; None takes the control, and the arms whose activation is `prelu_shared` or
            `prelu_channel`. Your own activation is called with `init` if it is named here.
        seeds: Number of seeds, the first ones of the study.
    """

    lr: Annotated[tuple[Rate, ...], Field(min_length=1, max_length=1000)]
    init: Annotated[tuple[Real, ...], Field(min_length=1, max_length=1000)] = (0.0, 0.1, 0.25, 0.5)
    arms: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    seeds: Annotated[Whole, Field(ge=1)] = 3


class FactorSpec(Table):
    """Factor crossed with the arms: the study's arms under other values of one setting.

    Attributes:
        setting: Dotted key: one of `train`, `model.options` or `data.augment`, `model.name`, `data.train_size`; or
            with the prefix `arm.` a setting of every arm, such as `arm.slope_lr_scale`.
        values: Values of the setting besides the study's own.
        arms: Names of the arms; None takes all.
        seeds: Number of seeds, the first ones of the study; None takes 10, or all if there are fewer.
    """

    setting: Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)+$")]
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
        if not free or self.setting.startswith(_NOT_CROSSED):
            raise ValueError(
                f"factors: {quoted(self.setting)} cannot be crossed with the arms; train.*, model.options.*, "
                "model.name, data.train_size, data.augment.* and arm.* can"
            )
        return self
