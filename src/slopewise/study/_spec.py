"""The spec: everything that a study's numbers depend on, as validated plain data.

Settings outside the spec (worker processes, output folder) cannot change a result.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from slopewise.errors import nearest
from slopewise.study._bounds import MOST_SEEDS
from slopewise.study._defaults import with_kind
from slopewise.study._references import reference_to
from slopewise.study.data._named import source_of_path
from slopewise.support import quoted

_LARGEST_SEED = 2**63 - 1  # the largest integer that SQLite stores
DEFAULT_ARMS = ("relu", "leaky_relu", "frozen_slope", "prelu_shared", "prelu_channel")


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


# A callable given from Python is turned into a reference that a worker process can import.
Reference = Annotated[str, BeforeValidator(lambda target: reference_to(target) if callable(target) else target)]


def _number(value: Any) -> Any:
    """Refuse true and false, which Python counts as 1 and 0, and integers too long for the store or a tensor."""
    if isinstance(value, bool):
        raise PydanticCustomError("no_number", "input should be a number")
    if isinstance(value, int) and value.bit_length() > 64:
        raise PydanticCustomError("too_long", "input should be a number of at most 64 bits")
    return value


def _path(path: str) -> str:
    """Return the path with the home directory in place of ~."""
    if "\0" in path:
        raise PydanticCustomError("no_path", "a path has no character of code 0")
    try:
        return str(Path(path).expanduser())
    except RuntimeError:
        raise PydanticCustomError("no_path", "no home directory is known of the user that it names") from None


Whole = Annotated[int, BeforeValidator(_number)]
Real = Annotated[float, BeforeValidator(_number)]
FilePath = Annotated[
    str,
    BeforeValidator(lambda path: os.fspath(path) if isinstance(path, os.PathLike) else path),
    AfterValidator(_path),
]
ImageSize = Annotated[
    tuple[Annotated[Whole, Field(gt=0)], Annotated[Whole, Field(gt=0)]],
    BeforeValidator(lambda size: (size, size) if isinstance(size, int) and not isinstance(size, bool) else size),
]
Patterns = Annotated[
    tuple[Annotated[str, Field(min_length=1)], ...],
    BeforeValidator(lambda patterns: (patterns,) if isinstance(patterns, str) else patterns),
]


def _distinct(names: tuple[str, ...]) -> tuple[str, ...]:
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise ValueError(f"data.classes: {quoted(twice[0])} stands twice; each class has one place")
    return names


DirectoryName = Annotated[str, Field(min_length=1)]
ClassName = Annotated[str, Field(min_length=1), BeforeValidator(lambda name: str(name) if type(name) is int else name)]


class AugmentSpec(_Table):
    """Random changes to training batches, drawn from their own seeded stream.

    Targets that are masks or images are shifted and mirrored with their image.

    Attributes:
        shift: Maximum shift of an image in each direction, in pixels; edges are repeated. None is an eighth of its
            height.
        flip: True to mirror images left-right with probability 1/2. None uses the data set's own setting (digits: no;
            clothes: yes).
        erase: Probability that a random rectangle (a fiftieth to a third of the area) of the image, not of its target,
            is set to the mean.
    """

    shift: Annotated[Whole, Field(ge=0)] | None = None
    flip: bool | None = None
    erase: Annotated[Real, Field(ge=0, le=1)] = 0.0


class DataSpec(_Table):
    """Images of a study. `source` is a name, a folder, an .npz file, or `module:callable`.

    Attributes:
        source: Name of the source: `digits`, `fashion-mnist`, `patches`, `shapes`, `folder`, `npz`, a registered name,
            or `module:callable`. A path stands for the source that reads it, such as `folder` or `npz`. In a study, the
            default depends on the task: `patches` for restoration, `shapes` for segmentation, else `digits`.
        path: Folder or file of the sources that need one; for `fashion-mnist`, the folder of the IDX files.
        train_size: Number of training images in a class-balanced subset; None takes all.
        validation_fraction: Fraction of the training images that is held out, drawn anew for each seed.
        image_size: Height and width that folder images are resized to; one number stands for both.
        parts: Names of the directories in `path` that hold the training and the test images, for `folder` only; None
            finds them by their names.
        classes: Names of the classes in the order of their labels. None sorts a folder's directories by name as text,
            so that '10' comes before '2'.
        layout: Axes of an image in arrays: `CHW`, `HWC` or `HW`, of a volume `CDHW`, `DHWC` or `DHW`. `auto` infers
            them if the sizes are unambiguous.
        ignore_index: Value of pixels in masks that belong to no class: neither loss nor scores count them. None: every
            value is a class.
        data_range: Largest possible value of a pixel where targets are images; inputs and targets are divided by it.
            None takes 255 for 8 bits, 65535 for 16 bits, 1 for floating-point numbers.
        memory_gib: Memory limit in GiB. Images that take more, in their own number type, are kept on disk while they
            are in use.
        options: Keyword arguments for a `module:callable`, or settings of a source (patches: scale, noise; shapes:
            dimensions).
        augment: Random changes to training batches.
    """

    source: Reference = "digits"
    path: FilePath | None = None
    train_size: Annotated[Whole, Field(gt=0)] | None = None
    validation_fraction: Annotated[Real, Field(gt=0, lt=1)] = 0.15
    image_size: ImageSize = (32, 32)
    parts: tuple[DirectoryName, DirectoryName] | None = None
    classes: Annotated[tuple[ClassName, ...], Field(min_length=2), AfterValidator(_distinct)] | None = None
    layout: Literal["auto", "CHW", "HWC", "HW", "CDHW", "DHWC", "DHW"] = "auto"
    ignore_index: Whole | None = None
    data_range: Annotated[Real, Field(gt=0)] | None = None
    memory_gib: Annotated[Real, Field(gt=0)] = 2.0
    options: dict[str, Any] = {}
    augment: AugmentSpec = AugmentSpec()

    @model_validator(mode="before")
    @classmethod
    def _path_as_source(cls, fields: Any) -> Any:
        source = fields.get("source") if isinstance(fields, dict) else None
        if not isinstance(source, (str, Path)) or fields.get("path"):
            return fields
        kind = source_of_path(source)
        return {**fields, "source": kind, "path": source} if kind else fields


class ConvertSpec(_Table):
    """Selection of the activations that an arm replaces in an ordinary network; arguments of `slopewise.convert`.

    Attributes:
        only: Names ("layer1.*") and kinds ("relu") of the activations to replace; None replaces all.
        skip: Names and kinds of the activations to leave unchanged in every arm.
        call_sites: Treatment of a module with several call sites: `separate` gives each call site an activation of
            its own, `shared` gives all of them the same one, `refuse` raises an error.
        channel_dim: Dimension that holds the channels where it cannot be inferred, for all sites or by name pattern.
    """

    only: Annotated[Patterns, Field(min_length=1)] | None = None
    skip: Patterns = ()
    call_sites: Literal["separate", "shared", "refuse"] = "separate"
    channel_dim: Annotated[int | dict[str, int] | None, BeforeValidator(_number)] = None


class ModelSpec(_Table):
    """Network of a study, and its initial weights.

    Attributes:
        name: Name of the network: `cnn`, `resnet20`, `unet` or `espcn`; your own as `module:callable`; or one of an
            installed library as `transformers:CLASS`, `timm:NAME` or `torchvision:NAME`. docs/spec.md describes their
            arguments.
        options: Further keyword arguments of the network (cnn: width, batch_norm; resnet20: width; unet: width,
            levels, norm; espcn: width, skip).
        checkpoint: File of `torch.save` or safetensors with the initial weights of every trial; None for random
            weights.
        checkpoint_key: Key of the state dict in that file, if the file holds several.
        checkpoint_prefix: Prefix of the network's names in that file ("student."); None infers it.
        checkpoint_skip: Patterns of names ("fc.*") whose tensors start at random despite the checkpoint.
        convert: Selection of the activations that are replaced in an ordinary network.
    """

    name: Reference = "cnn"
    options: dict[str, Any] = {}
    checkpoint: FilePath | None = None
    checkpoint_key: str | None = None
    checkpoint_prefix: str | None = None
    checkpoint_skip: Patterns = ()
    convert: ConvertSpec = ConvertSpec()

    @model_validator(mode="after")
    def _start_of_what(self) -> ModelSpec:
        about = [name for name in ("checkpoint_key", "checkpoint_prefix", "checkpoint_skip") if getattr(self, name)]
        if self.checkpoint is None and about:
            raise ValueError(f"model.{about[0]}: there is no model.checkpoint that it could be about")
        return self


class MetricSpec(_Table):
    """A metric that the user's own training function returns; the first one of a study is primary.

    Attributes:
        name: Key of the returned mapping.
        better: Direction that is an improvement.
        unit: Unit of `scale` times a value, such as `dB`; `points` for percentages.
        title: Name in print; by default the name.
        scale: Factor from a value to the number in print; 100 turns a fraction into points.
    """

    name: Annotated[str, Field(min_length=1, max_length=60, pattern=r"^[A-Za-z_]\w*$")]
    better: Literal["higher", "lower"]
    unit: Annotated[str, Field(max_length=20)] = ""
    title: Annotated[str, Field(min_length=1, max_length=60)] | None = None
    scale: Annotated[Real, Field(gt=0)] = 1.0


class TrainSpec(_Table):
    """Training settings of every arm.

    Attributes:
        function: Training function of your own as `module:function`, called with a `slopewise.study.TrialContext`; None
            trains in the study's own loop, by the settings below. With a function, `slope_lr_scale` and
            `shared_gradient` alone apply.
        options: Keyword arguments of the function.
        epochs: Number of passes over the training part.
        batch_size: Number of images per step; the last, smaller batch of an epoch is dropped.
        optimizer: Name of the optimizer: `sgd` (Nesterov momentum) or `adamw`.
        lr: Peak learning rate of the weights.
        momentum: Momentum of SGD, or the first beta of AdamW.
        weight_decay: Weight decay of all parameters except the slopes, which get none.
        slope_lr_scale: Learning rate of the slopes relative to the weights' learning rate.
        shared_gradient: Gradient of a slope that all channels of a layer share: `mean` over the channels, or `sum` over
            them as in PyTorch, which diverges earlier.
        schedule: Learning rate schedule: `one-cycle` (linear up over the first quarter, then cosine to 0) or
            `constant`.
    """

    function: Reference | None = None
    options: dict[str, Any] = {}
    epochs: Annotated[Whole, Field(gt=0)] = 40
    batch_size: Annotated[Whole, Field(gt=0)] = 64
    optimizer: Literal["sgd", "adamw"] = "sgd"
    lr: Annotated[Real, Field(gt=0)] = 0.025
    momentum: Annotated[Real, Field(ge=0, lt=1)] = 0.9
    weight_decay: Annotated[Real, Field(ge=0)] = 5e-4
    slope_lr_scale: Annotated[Real, Field(ge=0)] = 1.0
    shared_gradient: Literal["mean", "sum"] = "mean"
    schedule: Literal["one-cycle", "constant"] = "one-cycle"


class TaskSpec(_Table):
    """Task of a study: loss and metrics.

    Attributes:
        kind: Name of the task: `classification`, `multilabel`, `segmentation`, `regression`, `restoration`, or your own
            as `module:Class`, a `slopewise.study.tasks.Task`. It sets defaults of the data, the network and the
            training; docs/tasks.md has them.
        options: Keyword arguments of the task: `loss` and `metrics`, by name or as `module:callable`, and others.
    """

    kind: Reference = "classification"
    options: dict[str, Any] = {}


class HardwareSpec(_Table):
    """Hardware of a trial, in Lightning Fabric's terms. It is part of the spec because it can change the last bits.

    Attributes:
        accelerator: Device type: `cpu`, `cuda`, `mps` or `auto`.
        precision: Numeric precision: `32-true`, `bf16-mixed`, `16-mixed`, ...
        strategy: Strategy of Fabric: `auto`, or `ddp_spawn` for several devices per trial.
        devices: Number of devices per trial.
        threads: Number of torch threads per trial.
    """

    accelerator: Literal["cpu", "cuda", "mps", "auto"] = "cpu"
    precision: Literal["32-true", "64-true", "bf16-true", "bf16-mixed", "16-mixed"] = "32-true"
    strategy: Literal["auto", "ddp_spawn"] = "auto"
    devices: Annotated[Whole, Field(gt=0)] = 1
    threads: Annotated[Whole, Field(gt=0)] = 1


class MonitorSpec(_Table):
    """Monitoring of the training, which changes no bit of its result.

    Attributes:
        every: Number of training steps per sampled step of `slopewise.monitor.Monitor`, which raises alarms; 0 turns
            monitoring off.
    """

    every: Annotated[Whole, Field(ge=0)] = 10


class ArmSpec(_Table):
    """One arm of a study: an activation, and settings that differ from those of the other arms.

    Attributes:
        name: Name of the arm in tables; by default the activation's.
        activation: Registered name (`relu`, `prelu_channel`, ...) or `module:callable(channels, **options)`.
        options: Keyword arguments of the activation, e.g. {negative_slope = 0.3}.
        lr, slope_lr_scale, shared_gradient: Settings of this arm that override those of [train], for instance a
            learning rate tuned for each arm.
    """

    name: Annotated[str, Field(min_length=1, max_length=60)]
    activation: Reference
    options: dict[str, Any] = {}
    lr: Annotated[Real, Field(gt=0)] | None = None
    slope_lr_scale: Annotated[Real, Field(ge=0)] | None = None
    shared_gradient: Literal["mean", "sum"] | None = None


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
            one = f"; one seed is [{seeds}]" if 0 <= seeds <= _LARGEST_SEED else ""
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
        if high > _LARGEST_SEED:
            raise ValueError(f"seeds: {high} is greater than {_LARGEST_SEED}, the greatest seed")
        yield range(low, high + 1)


# Settings that apply to a training function, too.
_OF_FUNCTIONS = {
    "train.function",
    "train.options",
    "train.slope_lr_scale",
    "train.shared_gradient",
    "model.convert",
    "hardware.threads",
}


class StudySpec(_Table):
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
        data, task, model, train, hardware, monitor: Tables of further settings; see their classes.
    """

    name: str = "PReLU study"
    arms: Annotated[tuple[ArmSpec, ...], BeforeValidator(_expand_arms), Field(min_length=1)] = Field(
        default=DEFAULT_ARMS, validate_default=True
    )
    control: str = ""
    seeds: Annotated[
        tuple[Annotated[Whole, Field(ge=0, le=_LARGEST_SEED)], ...], BeforeValidator(_expand_seeds), Field(min_length=1)
    ] = Field(default=10, validate_default=True)
    margin: Annotated[Real, Field(gt=0)] | None = None
    floor: Real | None = None
    metrics: tuple[MetricSpec, ...] = ()
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

    @model_validator(mode="after")
    def _consistent(self) -> StudySpec:
        names = [arm.name for arm in self.arms]
        if twice := [name for name, count in Counter(names).items() if count > 1]:
            raise ValueError(f"arms: two are called {quoted(twice[0])}; give each its own name, as in 'again=relu'")
        if self.control not in names:
            raise ValueError(f"control: no arm is called {quoted(self.control)}; {nearest(self.control, names)}")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("seeds: the same seed stands twice; each arm is trained once per seed")
        if self.hardware.precision == "16-mixed" and self.hardware.accelerator == "cpu":
            raise ValueError("hardware.precision: '16-mixed' is for GPUs; a CPU takes 'bf16-mixed'")
        if self.hardware.devices > 1 and self.hardware.strategy == "auto":
            raise ValueError("hardware.strategy: several devices a trial need 'ddp_spawn'")
        if self.train.batch_size % self.hardware.devices:
            raise ValueError("train.batch_size: must be a multiple of hardware.devices, which share each batch")
        if self.train.function is None and self.metrics:
            raise ValueError("metrics: those of a task are its own; name metrics for a train.function")
        if self.train.function is not None:
            self._check_function()
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
        for table, settings in {**unused, "hardware": self.hardware}.items():
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
        own = {table: self._own(table, fields[table]) for table in ("data", "task", "model", "train", "hardware")}
        return {key: own.get(key, value) for key, value in fields.items() if own.get(key, True)}

    @staticmethod
    def _own(table: str, settings: dict[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in settings.items() if f"{table}.{key}" in _OF_FUNCTIONS}

    def arm(self, name: str) -> ArmSpec:
        """Return the arm of that name."""
        return next(arm for arm in self.arms if arm.name == name)
