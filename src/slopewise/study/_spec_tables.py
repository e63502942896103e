"""The tables of a spec: data, model, task, training, hardware, monitoring, and each arm."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from slopewise.study._spec_values import (
    ClassName,
    DirectoryName,
    FilePath,
    ImageSize,
    Patterns,
    Real,
    Reference,
    Table,
    Whole,
    distinct,
    number,
)
from slopewise.study.data._named import source_of_path
from slopewise.support import quoted


class AugmentSpec(Table):
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


class DataSpec(Table):
    """Images of a study. `source` is a name, a folder, an .npz file, or `module:callable`.

    Attributes:
        source: Name of the source: `digits`, `fashion-mnist`, `patches`, `shapes`, `folder`, `npz`, a registered name,
            or `module:callable`. A path stands for the source that reads it, such as `folder` or `npz`. In a study, the
            default depends on the task: `patches` for restoration, `shapes` for segmentation, else `digits`.
        path: Folder or file of the sources that need one; for `fashion-mnist`, the folder of the IDX files.
        train_size: Number of training images in a class-balanced subset; None takes all. As a factor, smaller numbers
            give subsets of the study's own images, and all of them validate on the same images.
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
    classes: Annotated[tuple[ClassName, ...], Field(min_length=2), AfterValidator(distinct)] | None = None
    layout: Literal["auto", "CHW", "HWC", "HW", "CDHW", "DHWC", "DHW"] = "auto"
    ignore_index: Whole | None = None
    data_range: Annotated[Real, Field(gt=0)] | None = None
    memory_gib: Annotated[Real, Field(gt=0)] = 2.0
    options: dict[str, Any] = Field(default={})
    augment: AugmentSpec = AugmentSpec()

    @model_validator(mode="before")
    @classmethod
    def _path_as_source(cls, fields: Any) -> Any:
        if not isinstance(fields, dict):
            return fields
        source, path = fields.get("source"), fields.get("path")
        if source is None and isinstance(path, (str, Path)):  # not the default source, which takes none
            kind = source_of_path(path)
            return {**fields, "source": kind} if kind else fields
        if not isinstance(source, (str, Path)) or path:
            return fields
        kind = source_of_path(source)
        return {**fields, "source": kind, "path": source} if kind else fields

    @model_validator(mode="after")
    def _path_of_a_source(self) -> DataSpec:
        if self.path is not None and "source" not in self.model_fields_set:
            raise ValueError(
                f"data.path: {quoted(self.path)} is no folder and no .npz file, and no data.source says what it is"
            )
        return self


class ConvertSpec(Table):
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
    channel_dim: Annotated[int | dict[str, int] | None, BeforeValidator(number)] = None


class ModelSpec(Table):
    """Network of a study, and its initial weights.

    Attributes:
        name: Name of the network: `cnn`, `resnet20`, `unet` or `espcn`; your own as `module:callable`; or one of an
            installed library as `transformers:CLASS`, `timm:NAME` or `torchvision:NAME`. docs/spec.md describes their
            arguments.
        options: Further keyword arguments of the network (cnn: width, depth, batch_norm; resnet20: width; unet:
            width, levels, norm; espcn: width, skip).
        checkpoint: File of `torch.save` or safetensors with the initial weights of every trial; None for random
            weights.
        checkpoint_key: Key of the state dict in that file, if the file holds several.
        checkpoint_prefix: Prefix of the network's names in that file ("student."); None infers it.
        checkpoint_skip: Patterns of names ("fc.*") whose tensors start at random despite the checkpoint.
        convert: Selection of the activations that are replaced in an ordinary network.
        memory_format: Memory format of the convolutions' weights, which their outputs take over: `channels_last`, or
            `as_built` for that of the network as it is built. It can change the last bits. The package's own networks
            are built channels last.
    """

    name: Reference = "cnn"
    options: dict[str, Any] = Field(default={})
    checkpoint: FilePath | None = None
    checkpoint_key: str | None = None
    checkpoint_prefix: str | None = None
    checkpoint_skip: Patterns = ()
    convert: ConvertSpec = ConvertSpec()
    memory_format: Literal["as_built", "channels_last"] = "as_built"

    @model_validator(mode="after")
    def _start_of_what(self) -> ModelSpec:
        about = [name for name in ("checkpoint_key", "checkpoint_prefix", "checkpoint_skip") if getattr(self, name)]
        if self.checkpoint is None and about:
            raise ValueError(f"model.{about[0]}: there is no model.checkpoint that it could be about")
        return self


class MetricSpec(Table):
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


class TrainSpec(Table):
    """Training settings of every arm.

    Attributes:
        function: Training function of your own as `module:function`, called with a `slopewise.study.TrialContext`; None
            trains in the study's own loop, by the settings below. With a function, only `slope_lr_scale`,
            `slope_weight_decay` and `shared_gradient` apply.
        options: Keyword arguments of the function.
        epochs: Number of passes over the training part.
        batch_size: Number of images per step; the last, smaller batch of an epoch is dropped.
        optimizer: Name of the optimizer: `sgd` (Nesterov momentum) or `adamw`.
        lr: Peak learning rate of the weights.
        momentum: Momentum of SGD, or the first beta of AdamW.
        weight_decay: Weight decay of all parameters except the slopes.
        slope_lr_scale: Learning rate of the slopes relative to the weights' learning rate.
        slope_weight_decay: Weight decay of the slopes, which pulls them towards 0, and so PReLU towards ReLU.
        shared_gradient: Gradient of a slope that all channels of a layer share: `mean` over the channels, or `sum` over
            them as in PyTorch, which diverges earlier.
        schedule: Learning rate schedule: `one-cycle` (linear up over the first quarter, then cosine to 0) or
            `constant`.
    """

    function: Reference | None = None
    options: dict[str, Any] = Field(default={})
    epochs: Annotated[Whole, Field(gt=0)] = 40
    batch_size: Annotated[Whole, Field(gt=0)] = 64
    optimizer: Literal["sgd", "adamw"] = "sgd"
    lr: Annotated[Real, Field(gt=0)] = 0.025
    momentum: Annotated[Real, Field(ge=0, lt=1)] = 0.9
    weight_decay: Annotated[Real, Field(ge=0)] = 5e-4
    slope_lr_scale: Annotated[Real, Field(ge=0)] = 1.0
    slope_weight_decay: Annotated[Real, Field(ge=0)] = 0.0
    shared_gradient: Literal["mean", "sum"] = "mean"
    schedule: Literal["one-cycle", "constant"] = "one-cycle"


class TaskSpec(Table):
    """Task of a study: loss and metrics.

    Attributes:
        kind: Name of the task: `classification`, `multilabel`, `segmentation`, `regression`, `restoration`, or your own
            as `module:Class`, a `slopewise.study.tasks.Task`. It sets defaults of the data, the network and the
            training; docs/tasks.md has them.
        options: Keyword arguments of the task: `loss` and `metrics`, by name or as `module:callable`, and others.
    """

    kind: Reference = "classification"
    options: dict[str, Any] = Field(default={})


class HardwareSpec(Table):
    """Hardware of a trial, in Lightning Fabric's terms. It is part of the spec because it can change the last bits.

    Attributes:
        accelerator: Device type: `cpu`, `cuda`, `mps` or `auto`.
        precision: Numeric precision: `32-true`, `bf16-mixed`, `16-mixed`, ...
        strategy: Strategy for several devices per trial: `ddp` to copy the network to each of them, or `fsdp2` to shard
            it. `auto` is for one device, with which the others have no effect; `ddp_spawn` is another name of `ddp`.
        devices: Number of devices per trial.
        threads: Number of torch threads per trial.
        cpus_per_trial: Processor cores that an engine reserves for a trial, such as 0.5; None reserves one for each
            torch thread of each device.
        gpus_per_trial: Accelerators that an engine reserves for a trial; below 1, trials share one. None reserves
            `devices`. Neither of the two changes a result, so both may change when a study is resumed.
    """

    accelerator: Literal["cpu", "cuda", "mps", "auto"] = "cpu"
    precision: Literal["32-true", "64-true", "bf16-true", "bf16-mixed", "16-mixed"] = "32-true"
    strategy: Literal["auto", "ddp", "ddp_spawn", "fsdp2"] = "auto"
    devices: Annotated[Whole, Field(gt=0)] = 1
    threads: Annotated[Whole, Field(gt=0)] = 1
    cpus_per_trial: Annotated[Real, Field(ge=0.001)] | None = None
    gpus_per_trial: Annotated[Real, Field(ge=0)] | None = None


class MonitorSpec(Table):
    """Monitoring of the training, which changes no bit of its result.

    Attributes:
        every: Number of training steps per sampled step of `slopewise.monitor.Monitor`, which raises alarms; 0 turns
            monitoring off.
        information: True to score, after training, the information about the image in the output of each layer: by a
            linear probe for the class, and by a reconstruction of the image. docs/protocol.md defines both.
    """

    every: Annotated[Whole, Field(ge=0)] = 10
    information: bool = False


class StartSpec(Table):
    """Start of an arm from another arm of the study, which each of its trials trains first, in the same process.

    The other arm is trained exactly as in its own trial with the same seed, bit for bit. So trials do not depend on
    stored weights, but take the time of both trainings.

    Attributes:
        arm: Name of the other arm.
        take: `slopes` to start from the usual initial weights and the slopes that the other arm has learned; `weights`
            to start from all final weights of the other arm, except slopes that only one of the arms has.
    """

    arm: Annotated[str, Field(min_length=1, max_length=60)]
    take: Literal["slopes", "weights"]


class ArmSpec(Table):
    """One arm of a study: an activation, and settings that differ from those of the other arms.

    Attributes:
        name: Name of the arm in tables; by default the activation's.
        activation: Registered name (`relu`, `prelu_channel`, ...) or `module:callable(channels, **options)`.
        options: Keyword arguments of the activation, e.g. {negative_slope = 0.3}.
        lr, slope_lr_scale, slope_weight_decay, shared_gradient: Settings of this arm that override those of [train];
            None takes those of [train].
        epochs: Number of passes of this arm over the training part; None takes that of [train].
        start: Other arm to start from; None starts from the study's usual initial weights.
    """

    name: Annotated[str, Field(min_length=1, max_length=60)]
    activation: Reference
    options: dict[str, Any] = Field(default={})
    lr: Annotated[Real, Field(gt=0)] | None = None
    slope_lr_scale: Annotated[Real, Field(ge=0)] | None = None
    slope_weight_decay: Annotated[Real, Field(ge=0)] | None = None
    shared_gradient: Literal["mean", "sum"] | None = None
    epochs: Annotated[Whole, Field(gt=0)] | None = None
    start: StartSpec | None = None
