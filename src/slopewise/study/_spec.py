"""The spec: everything that a study's numbers depend on, as validated plain data.

Settings outside the spec (worker processes, output folder) cannot change a result.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from slopewise.errors import nearest
from slopewise.records import UNNAMED
from slopewise.study._bounds import MOST_SEEDS
from slopewise.study._defaults import with_kind
from slopewise.study._spec_designs import (
    FactorSpec,
    MapSpec,
    TuneSpec,
    UntilDecidedSpec,
    check_looks,
    most_seeds,
    with_looks,
)
from slopewise.study._spec_tables import (
    ArmSpec,
    DataSpec,
    HardwareSpec,
    MetricSpec,
    ModelSpec,
    MonitorSpec,
    TaskSpec,
    TrainSpec,
)
from slopewise.study._spec_values import LARGEST_SEED, Real, Table, Whole
from slopewise.study._starts import check_starts
from slopewise.support import quoted

DEFAULT_ARMS = ("relu", "leaky_relu", "frozen_slope", "prelu_shared", "prelu_channel")


def _expand_arms(arms: Any) -> Any:
    """Expand shorthands: 'relu' is an arm of that name, 'again=relu' names it; a bare repeat becomes 'relu_2'."""
    arms = arms.split(",") if isinstance(arms, str) else arms
    if not isinstance(arms, (list, tuple)):
        return arms
    arms = [{"activation": arm} if callable(arm) else arm for arm in arms]
    expanded, seen = [], Counter[str]()
    for arm in arms:
        if isinstance(arm, str):
            name, _, activation = (part.strip() for part in arm.partition("="))
            seen[name] += 1
            arm = {  # noqa: PLW2901
                "name": name if activation or seen[name] == 1 else f"{name}_{seen[name]}",
                "activation": activation or name,
            }
        elif isinstance(arm, dict) and "activation" in arm:
            arm = {"name": _activation_name(arm["activation"]), **arm}  # noqa: PLW2901
        expanded.append(arm)
    return expanded


def _activation_name(activation: Any) -> str:
    """Return the default name of an arm with this activation."""
    return getattr(activation, "__name__", None) or (activation if isinstance(activation, str) else quoted(activation))


_SEEDS = re.compile(r"\s*([0-9]{1,19})\s*(?:-\s*([0-9]{1,19})\s*)?")  # one or a range, of at most 64 bits


def _expand_seeds(seeds: Any) -> Any:
    """Expand seeds: a number is a count (10: seeds 0 to 9), a list stays as it is, text is '10', '3,5,8' or '10-19'."""
    if isinstance(seeds, str):
        ranges = list(_ranges(seeds))
        if "," in seeds or "-" in seeds:
            count = sum(each.stop - each.start for each in ranges)
            if count > MOST_SEEDS:
                raise ValueError(f"seeds: {quoted(seeds)} are {count:,} seeds; a study takes at most {MOST_SEEDS:,}")
            return tuple(chain.from_iterable(ranges))
        seeds = ranges[0][0]
    if isinstance(seeds, int) and not isinstance(seeds, bool):
        if not 0 < seeds <= MOST_SEEDS:
            one = f"; one seed is [{seeds}]" if 0 <= seeds <= LARGEST_SEED else ""
            raise ValueError(f"seeds: {quoted(seeds)} as a number is a count of seeds, 1 to {MOST_SEEDS:,}{one}")
        return tuple(range(seeds))
    if isinstance(seeds, Iterable) and not isinstance(seeds, (list, tuple, bytes, Mapping)):
        seeds = tuple(islice(seeds, MOST_SEEDS + 1))  # a range, a set, or an iterable that may be endless
        if len(seeds) > MOST_SEEDS:
            raise ValueError(f"seeds: more than {MOST_SEEDS:,} of them, the most that a study takes")
    return seeds


def _ranges(text: str) -> Iterator[range]:
    for part in text.split(","):
        if not (match := _SEEDS.fullmatch(part)):
            raise ValueError(f"seeds: {quoted(part)} is no seed and no range; write 10 (a count), 3,5,8 or 10-19")
        low, high = int(match[1]), int(match[2] or match[1])
        if high < low:
            raise ValueError(f"seeds: the range {low}-{high} goes down; write {high}-{low}")
        if high > LARGEST_SEED:
            raise ValueError(f"seeds: {high} is greater than {LARGEST_SEED}, the greatest seed")
        yield range(low, high + 1)


# Settings that apply to a training function, too.
_OF_FUNCTIONS = {
    "train.function",
    "train.options",
    "train.slope_lr_scale",
    "train.slope_weight_decay",
    "train.shared_gradient",
    "model.convert",
    "hardware.threads",
    "hardware.cpus_per_trial",
    "hardware.gpus_per_trial",
    "monitor.every",
}


class StudySpec(Table):
    """Complete spec of a study.

    Attributes:
        name: Title of the report.
        arms: Arms of the study.
        control: Name of the arm that the others are compared with; by default the first one.
        seeds: Seeds of the study, with one trial per arm and seed. A number n stands for 0 to n - 1.
        margin: Smallest difference in the primary metric on the test part that is of practical interest, in the
            metric's unit; None takes the metric's default (accuracy: 0.5 percentage points), if it has one.
        floor: Score of the primary metric that a diverged trial counts with, in the metric's unit: that of a model that
            knows nothing. None takes the metric's own (accuracy: 100 / number of classes); where there is none either,
            pairs with a diverged trial are left out.
        metrics: Metrics that `train.function` returns, the primary one first; a task has its own.
        until_decided: Adaptive number of seeds: `seeds` is the largest number (default: the last look, or 40), and an
            arm gets no further seeds once it is decided. True stands for the default looks; None gives all arms all
            seeds.
        tune: Tuning of the learning rate of each arm; None trains at the rates of [train] and of the arms.
        map: Sensitivity map over learning rates and initial slopes; None for no map.
        factors: Factors that are crossed with the arms.
        data, task, model, train, hardware, monitor: Tables of further settings; see their classes.
    """

    name: str = UNNAMED
    arms: Annotated[tuple[ArmSpec, ...], BeforeValidator(_expand_arms), Field(min_length=1)] = Field(
        default=DEFAULT_ARMS, validate_default=True
    )
    control: str = ""
    seeds: Annotated[
        tuple[Annotated[Whole, Field(ge=0, le=LARGEST_SEED)], ...], BeforeValidator(_expand_seeds), Field(min_length=1)
    ] = Field(default=10, validate_default=True)
    margin: Annotated[Real, Field(gt=0)] | None = None
    floor: Real | None = None
    metrics: tuple[MetricSpec, ...] = ()
    until_decided: Annotated[
        UntilDecidedSpec | None, BeforeValidator(lambda table: None if table is False else table)
    ] = None
    tune: TuneSpec | None = None
    map: MapSpec | None = None
    factors: tuple[FactorSpec, ...] = ()
    data: DataSpec = DataSpec()
    task: TaskSpec = TaskSpec()
    model: ModelSpec = ModelSpec()
    train: TrainSpec = TrainSpec()
    hardware: HardwareSpec = HardwareSpec()
    monitor: MonitorSpec = MonitorSpec()

    @model_validator(mode="before")
    @classmethod
    def _of_its_kind(cls, fields: Any) -> Any:
        return with_kind(fields) if isinstance(fields, Mapping) else fields

    @model_validator(mode="before")
    @classmethod
    def _first_arm_is_control(cls, fields: Any) -> Any:
        if isinstance(fields, dict) and not fields.get("control"):
            arms = _expand_arms(fields.get("arms", DEFAULT_ARMS))
            first = arms[0] if isinstance(arms, list) and arms else None
            name = first.name if isinstance(first, ArmSpec) else first.get("name") if isinstance(first, dict) else None
            return {**fields, "control": name or ""}
        return fields

    @model_validator(mode="before")
    @classmethod
    def _with_looks(cls, fields: Any) -> Any:
        if not isinstance(fields, Mapping) or fields.get("until_decided") in (None, False):
            return fields
        fields = {"seeds": most_seeds(fields["until_decided"]), **fields}
        seeds = _expand_seeds(fields["seeds"])
        return with_looks(fields, len(seeds)) if isinstance(seeds, (list, tuple)) else fields

    @model_validator(mode="after")
    def _consistent(self) -> StudySpec:
        names = [arm.name for arm in self.arms]
        if twice := [name for name, count in Counter(names).items() if count > 1]:
            raise ValueError(f"arms: two are called {quoted(twice[0])}; give each its own name, as in 'again=relu'")
        check_starts(self.arms, function=self.train.function)
        if self.control not in names:
            raise ValueError(f"control: no arm is called {quoted(self.control)}; {nearest(self.control, names)}")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("seeds: the same seed stands twice; each arm is trained once per seed")
        if self.hardware.precision == "16-mixed" and self.hardware.accelerator == "cpu":
            raise ValueError("hardware.precision: '16-mixed' is for GPUs; a CPU takes 'bf16-mixed'")
        if self.hardware.devices > 1 and self.hardware.strategy == "auto":
            raise ValueError("hardware.strategy: several devices a trial need 'ddp' or 'fsdp2'")
        if self.hardware.strategy == "fsdp2" and self.hardware.precision == "16-mixed":
            raise ValueError("hardware.precision: '16-mixed' scales the loss, which 'fsdp2' cannot; take 'bf16-mixed'")
        if (gpus := self.hardware.gpus_per_trial or 0.0) > 1 and gpus != int(gpus):
            raise ValueError("hardware.gpus_per_trial: above 1 a whole number: trials can share one GPU, not several")
        if self.train.batch_size % self.hardware.devices:
            raise ValueError("train.batch_size: must be a multiple of hardware.devices, which share each batch")
        if self.train.function is None and self.metrics:
            raise ValueError(
                "metrics: those of a task are chosen by task.options.metrics, and named here for a train.function alone"
            )
        if self.train.function is not None:
            self._check_function()
        if self.until_decided and self.until_decided.looks:
            check_looks(self.until_decided.looks, len(self.seeds))
        return self

    def _check_function(self) -> None:
        if not self.metrics:
            raise ValueError(
                "metrics: a train.function needs at least one, as in `--metric psnr --better higher`: the name under "
                "which it returns the value, and the direction that is an improvement"
            )
        names = [metric.name for metric in self.metrics]
        if twice := [name for name, count in Counter(names).items() if count > 1]:
            raise ValueError(f"metrics: {quoted(twice[0])} stands twice")
        unused = {"data": self.data, "task": self.task, "model": self.model, "train": self.train}
        for table, settings in {**unused, "hardware": self.hardware, "monitor": self.monitor}.items():
            for key, value in settings:
                default = type(settings).model_fields[key].get_default()
                if value != default and f"{table}.{key}" not in _OF_FUNCTIONS:
                    raise ValueError(
                        f"{table}.{key}: has no effect with a train.function, which has its own; train.options "
                        "are its arguments"
                    )

    def plain(self) -> dict[str, Any]:
        """Return the spec as plain data for the store and the report, without settings that have no effect."""
        fields = self.model_dump(mode="json")
        if self.train.function is None:
            return fields
        own: dict[str, Any] = {"tune": None, "map": None}
        own |= {table: self._own(table, fields[table]) for table in ("data", "task", "model", "train", "hardware")}
        return {key: own.get(key, value) for key, value in fields.items() if own.get(key, True)}

    @staticmethod
    def _own(table: str, settings: dict[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in settings.items() if f"{table}.{key}" in _OF_FUNCTIONS}

    def arm(self, name: str) -> ArmSpec:
        """Return the arm of that name."""
        return next(arm for arm in self.arms if arm.name == name)
