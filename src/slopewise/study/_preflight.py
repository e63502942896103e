"""Checks before the first trial, which find faults while no work can be lost to them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from slopewise.errors import ConversionWarning, ModelError, SlopewiseError, SpecError
from slopewise.events import Reading, TrialKey
from slopewise.monitor import Probe
from slopewise.study._cells import designed_cells, spec_of
from slopewise.study._function import function_preflight
from slopewise.study._margin import check_margin, with_floor
from slopewise.study._network import build_arm, network_sizes
from slopewise.study._optimizer import build_optimizer
from slopewise.study._references import describe
from slopewise.study._spec import StudySpec
from slopewise.study._spec_tables import ArmSpec, ConvertSpec, HardwareSpec
from slopewise.study._training_part import training_part
from slopewise.study._trial import make_fabric, why_not_on
from slopewise.study._workplace import TrialData
from slopewise.study.arms import AS_IS, activation_factory
from slopewise.study.data import WITHOUT_PATH, ImageData, load_data, source_of
from slopewise.study.models import BuiltModel, checkpoint_facts, continue_from_, hint_for_size, recipe
from slopewise.study.tasks import Task, bound_task, make_task

_IMAGES = 8
_NOTES = 3  # notes that a warning shows; the report shows all


@dataclass(frozen=True)
class Preflight:
    """Result of the checks.

    Attributes:
        data: Loaded images, or the folders of a training function's trials.
        facts: Facts of the data, the checkpoint and the model, for the store and the report.
    """

    data: TrialData
    facts: dict[str, Any]


def preflight(
    spec: StudySpec, *, folder: Path | None = None, on_event: Callable[[Reading], None] | None = None
) -> Preflight:
    """Load the data, and rehearse the trials of every arm on a few images.

    Args:
        spec: Spec of the study.
        folder: Directory for images that do not fit in memory; None is the system's for temporary files.
        on_event: Called with the progress while images are read.

    Raises:
        SlopewiseError: A fault was found; the message describes the first one in one line.
    """
    if spec.train.function is not None:
        _check_arms(spec, ordinary=True)
        return Preflight(*function_preflight(spec, folder))
    checkpoint = check_names(spec)
    _check_hardware(spec.hardware)
    data = load_data(spec.data, make_task(spec.task).targets, folder=folder, on_event=on_event)
    metrics = _metrics(spec, data)
    _check_sizes(spec, data)
    starts = [_rehearse(spec, arm, data) for arm in spec.arms]
    if recipe(spec.model).ordinary and len({start.digest for start in starts}) > 1:
        raise ModelError(
            f"model '{spec.model.name}' starts from other weights each time that it is built from the same seed: let "
            "it draw from torch's global generator alone, which is seeded, and not from NumPy's or Python's"
        )
    _rehearse_cells(spec, data)
    if notes := (*_same_start(spec, data, starts[0]), *starts[0].notes):
        more = f"; and {len(notes) - _NOTES} more" if len(notes) > _NOTES else ""
        message = f"model '{spec.model.name}': {'; '.join(notes[:_NOTES])}{more}"
        warnings.warn(message, ConversionWarning, stacklevel=2)
    facts = data.facts() | {"network": network_sizes(spec, data)} | metrics | checkpoint | starts[0].facts
    return Preflight(data, facts)


def _rehearse_cells(spec: StudySpec, data: ImageData) -> None:
    """Rehearse the arms of every cell whose network may differ; a learning rate alone does not change the network."""
    for cell in designed_cells(spec):
        if cell.settings.keys() != {"train.lr"}:
            for arm in cell.arms:
                own = spec_of(spec, TrialKey(arm, cell.seeds[0], cell.key))
                try:
                    _rehearse(own, own.arm(arm), data)
                except SlopewiseError as error:
                    raise type(error)(f"with {cell.key}: {error}") from error


def _metrics(spec: StudySpec, data: ImageData) -> dict[str, Any]:
    """Return the metrics of the study's task as plain data, the loss after the primary one, and check the margin."""
    task = bound_task(spec.task, data)
    primary, *others = task.metrics(data)
    check_margin(spec, primary)
    return {"metrics": [asdict(metric) for metric in (with_floor(spec, primary), task.loss_metric, *others)]}


def _same_start(spec: StudySpec, data: ImageData, first: _Start) -> tuple[str, ...]:
    """Return a note if the weights of a user's model do not depend on the seed, though no checkpoint sets them."""
    if len(spec.seeds) < 2 or ":" not in spec.model.name or spec.model.checkpoint is not None:
        return ()
    if build_arm(spec, spec.arms[0], spec.seeds[1], data).init_digest() != first.digest:
        return ()
    return (
        "starts from the same weights with every seed, so that seeds differ in the order of the images alone: right if "
        "it loads trained weights itself; else it draws from a generator of a fixed seed",
    )


def check_names(spec: StudySpec) -> dict[str, Any]:
    """Look up everything that a spec names, without loading data.

    Returns:
        Facts of the checkpoint.

    Raises:
        SlopewiseError: There is no such activation, model, checkpoint or source of data.
    """
    ordinary = recipe(spec.model).ordinary
    _check_arms(spec, ordinary=ordinary)
    if spec.model.convert != ConvertSpec() and not ordinary:
        raise SpecError(f"model.convert: model '{spec.model.name}' is built with the arm's activation, not converted")
    if spec.data.path is not None and spec.data.source in WITHOUT_PATH:
        raise SpecError(f"data.path: data '{spec.data.source}' have none; if the path is meant, leave data.source out")
    source_of(spec.data)
    make_task(spec.task)
    return checkpoint_facts(spec.model)


def _check_arms(spec: StudySpec, *, ordinary: bool) -> None:
    for arm in spec.arms:
        activation_factory(arm)
        if arm.activation == AS_IS and not ordinary:
            raise SpecError(f"arm '{arm.name}': model '{spec.model.name}' has no activations of its own to keep as_is")


def _started(spec: StudySpec, arm: ArmSpec, data: ImageData) -> BuiltModel:
    """Return the initial network of an arm; the arm that it starts from, if any, stays untrained."""
    built = build_arm(spec, arm, spec.seeds[0], data)
    if arm.start is not None:
        continue_from_(built, _started(spec, spec.arm(arm.start.arm), data), arm)
    return built


@dataclass(frozen=True)
class _Start:
    """Start of an arm: the digest of its initial weights, and the facts and notes of its conversion."""

    digest: str
    facts: dict[str, Any]
    notes: tuple[str, ...]


def _rehearse(spec: StudySpec, arm: ArmSpec, data: ImageData) -> _Start:
    index = torch.arange(min(_IMAGES, len(data.train_targets)))
    images, labels = data.train_images[index], data.train_targets[index]
    training_part(spec, data, spec.seeds[0])
    built = _started(spec, arm, data)

    def loss(model: nn.Module) -> Tensor:
        output = model(images)
        if expected := task.fault(output, labels, data):
            got = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            mode = "training" if model.training else "evaluation"
            raise ModelError(f"{where} must return {expected} in {mode}, not {got}{hint}")
        loss = task.loss(output, labels)
        _check_task(spec, task, output, labels, loss)
        return loss

    task = bound_task(spec.task, data)
    where = f"model '{spec.model.name}' with arm '{arm.name}', on images {tuple(images.shape)},"
    hint = "" if "num_classes" in recipe(spec.model).takes else ": it has no num_classes to set, but model.options may"
    try:
        digest = built.init_digest()
        build_optimizer(built.model, spec.train, arm, steps_per_epoch=1)
        torch.autograd.backward(loss(built.model))
        if reason := why_not_on(spec.hardware, built.model):
            raise ModelError(f"hardware.strategy: {where} {reason}")
        sites = Probe(built.model, built.sites.values())(lambda: loss(built.model)).sites
    except SlopewiseError:
        raise
    except (Exception, SystemExit) as error:  # a user's model can raise anything
        raise ModelError(f"{where} raised {describe(error)}{hint_for_size(images)}") from error
    if not any(site.site in built.sites for site in sites):
        raise ModelError(
            f"{where} makes activations but never applies one, so all arms would be the same: call in forward() what "
            "activation(channels) returned"
        )
    return _Start(digest, built.facts(), built.notes)


def _check_task(spec: StudySpec, task: Task, output: Tensor, target: Tensor, loss: Tensor) -> None:
    """Check the loss and the scores of a few images, which may be a user's own code."""
    place = f"task '{spec.task.kind}'"
    if not isinstance(loss, Tensor) or loss.shape != ():
        got = tuple(loss.shape) if isinstance(loss, Tensor) else type(loss).__name__
        raise SpecError(f"{place}: the loss must be a scalar tensor, not {got}")
    if not loss.requires_grad:
        raise SpecError(f"{place}: the loss has no gradient: compute it from the output with torch's operations alone")
    scorer = task.scorer()
    try:
        scorer.update(output.detach(), target)
        scores = scorer.compute()
    except SlopewiseError:
        raise
    except Exception as error:  # a user's metric can raise anything
        raise SpecError(f"{place}: scoring {len(target)} images raised {describe(error)}") from error
    for name, score in scores.items():
        if not isinstance(score, Tensor) or score.shape != ():
            got = tuple(score.shape) if isinstance(score, Tensor) else type(score).__name__
            raise SpecError(f"{place}: metric '{name}' must be one number, not {got}")


def _check_hardware(hardware: HardwareSpec) -> None:
    if hardware == HardwareSpec():
        return  # one CPU is always there, and Fabric takes its time to import
    if hardware.accelerator == "cuda" and not torch.cuda.is_available():
        build = "is a build without CUDA" if torch.version.cuda is None else "sees no CUDA device"
        raise SpecError(
            f"hardware.accelerator: torch {torch.__version__} {build}; check the driver (nvidia-smi) or the torch "
            "build (torch.version.cuda), or train on the CPU: --device cpu"
        )
    try:
        make_fabric(hardware)
    except (RuntimeError, ValueError) as error:  # what Fabric raises for devices that are not there
        raise SpecError(f"hardware: {describe(error)}") from error


def _check_sizes(spec: StudySpec, data: ImageData) -> None:
    height, width = data.train_images.shape[-2:]
    shift = spec.data.augment.shift or 0
    if shift >= min(height, width):
        raise SpecError(
            f"data.augment.shift: {shift} pixels push all of an image of {height} x {width} out of it: give fewer"
        )
    if data.kind != "labels":
        _check_parts(spec.data.validation_fraction, len(data.train_targets))
        return
    counts = torch.bincount(data.train_targets[torch.arange(len(data.train_targets))], minlength=len(data.classes))
    fewest, fraction = int(counts.min()), spec.data.validation_fraction
    held_out = round(fraction * fewest)
    if held_out < 1 or fewest - held_out < 1:
        trouble = "leaves no image to validate on" if held_out < 1 else "leaves none to train on"
        another = f", or set it to {math.ceil(60 / fewest) / 100:g} or more" if held_out < 1 < fewest else ""
        raise SpecError(
            f"data.validation_fraction: {fraction} of class '{data.classes[int(counts.argmin())]}', the smallest, with "
            f"{fewest} training image{'s' * (fewest != 1)}, {trouble}: add images, leave the class out (of a folder: "
            f"name the others in data.classes){another}"
        )


def _check_parts(fraction: float, images: int) -> None:
    if not 1 <= round(fraction * images) < images:
        raise SpecError(
            f"data.validation_fraction: {fraction} of {images} training images leaves none to "
            f"{'validate' if round(fraction * images) < 1 else 'train'} on: add images, or set another fraction"
        )
