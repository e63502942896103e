"""Everything that can be found wrong before the first trial, so that no work is lost to it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from slopewise.errors import ModelError, SlopewiseError, SpecError
from slopewise.monitor import probe
from slopewise.optim import param_groups
from slopewise.study._references import describe
from slopewise.study._spec import ArmSpec, HardwareSpec, StudySpec
from slopewise.study._trial import build_arm, make_fabric
from slopewise.study.arms import activation_factory
from slopewise.study.data import ImageData, load_data, source
from slopewise.study.models import builder

_IMAGES = 8


def preflight(spec: StudySpec) -> ImageData:
    """Load the data, and rehearse with every arm what its trials will do, on a few images.

    Raises:
        SlopewiseError: with the first fault found, in one line.
    """
    check_names(spec)
    _check_hardware(spec.hardware)
    data = load_data(spec.data)
    _check_sizes(spec, data)
    for arm in spec.arms:
        _rehearse(spec, arm, data)
    return data


def check_names(spec: StudySpec) -> None:
    """Find everything that a spec names, and load no data yet.

    Raises:
        SlopewiseError: there is no such activation, model or source of data.
    """
    for arm in spec.arms:
        activation_factory(arm)
    builder(spec.model)
    source(spec.data)


def _rehearse(spec: StudySpec, arm: ArmSpec, data: ImageData) -> None:
    index = torch.arange(min(_IMAGES, len(data.train_labels)))
    images, labels = data.train_images[index], data.train_labels[index]
    built = build_arm(spec, arm, spec.seeds[0], data)

    def loss(model: nn.Module) -> Tensor:
        logits = model(images)
        wanted = (len(images), len(data.classes))
        got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        if got != wanted:
            mode = "training" if model.training else "evaluation"
            raise ModelError(f"{where} must return logits {wanted} (images, classes) in {mode}, not {got}")
        return F.cross_entropy(logits, labels)

    where = f"model '{spec.model.name}' with arm '{arm.name}', on images {tuple(images.shape)},"
    try:
        built.init_digest()
        param_groups(built.model, lr=spec.train.lr)
        torch.autograd.backward(loss(built.model))
        states, _ = probe(built.model, built.sites, loss)
    except SlopewiseError:
        raise
    except (Exception, SystemExit) as error:  # a user's model can raise anything
        raise ModelError(f"{where} raised {describe(error)}") from error
    if not states:
        raise ModelError(
            f"{where} makes activations but never applies one, so all arms would be the same: call in forward() what "
            "activation(channels) returned"
        )


def _check_hardware(hardware: HardwareSpec) -> None:
    if hardware == HardwareSpec():
        return  # one CPU is always there, and Fabric takes its time to import
    try:
        make_fabric(hardware)
    except (RuntimeError, ValueError) as error:  # what Fabric raises for devices that are not there
        raise SpecError(f"hardware: {describe(error)}") from error


def _check_sizes(spec: StudySpec, data: ImageData) -> None:
    fewest = int(torch.bincount(data.train_labels).min())
    held_out = round(spec.data.validation_fraction * fewest)
    if held_out < 1 or fewest - held_out < 1:
        raise SpecError(
            f"data.validation_fraction: {spec.data.validation_fraction} of the smallest class ({fewest} training "
            "images) leaves no image to validate on, or none to train on: give more images, or another fraction"
        )
