"""Everything that can be found wrong before the first trial, so that no work is lost to it."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from slopewise.errors import ModelError, SpecError
from slopewise.study._references import describe
from slopewise.study._spec import HardwareSpec, StudySpec
from slopewise.study._trial import build_arm, make_fabric
from slopewise.study.data import ImageData, load_data

_IMAGES = 8


def preflight(spec: StudySpec) -> ImageData:
    """Load the data, and take every arm's model through one forward and backward pass.

    Raises:
        SlopewiseError: with the first fault found, in one line.
    """
    _check_hardware(spec.hardware)
    data = load_data(spec.data)
    _check_sizes(spec, data)
    index = torch.arange(min(_IMAGES, len(data.train_labels)))
    images, labels = data.train_images[index], data.train_labels[index]
    for arm in spec.arms:
        model = build_arm(spec, arm, spec.seeds[0], data).model
        shape = tuple(images.shape)
        try:
            logits = model(images)
            if isinstance(logits, torch.Tensor) and logits.shape == (len(images), len(data.classes)):
                torch.autograd.backward(F.cross_entropy(logits, labels))
                continue
        except Exception as error:  # a user's model can raise anything
            raise ModelError(
                f"model '{spec.model.name}' with arm '{arm.name}', on images {shape}, raised {describe(error)}"
            ) from error
        got = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        raise ModelError(
            f"model '{spec.model.name}' with arm '{arm.name}', on images {shape}, must return logits "
            f"{(len(images), len(data.classes))} (images, classes), not {got}"
        )
    return data


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
