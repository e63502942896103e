"""Networks of a study's arms, built from the data or from what the study has kept of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from slopewise.study._spec import StudySpec
from slopewise.study._spec_tables import ArmSpec
from slopewise.study.arms import activation_factory
from slopewise.study.data import ImageData
from slopewise.study.models import BuiltModel, build_model
from slopewise.study.tasks import make_task

_EXAMPLES = 2  # example images for the conversion of an ordinary network; batch normalisation needs two


def network_sizes(spec: StudySpec, data: ImageData) -> dict[str, int]:
    """Return the numbers that a network gets from the data, by the names of `build_model`'s arguments."""
    return {
        "num_classes": make_task(spec.task).outputs(data),
        "in_channels": data.in_channels,
        "upscale": data.train_targets.shape[-1] // data.train_images.shape[-1] if data.kind == "images" else 1,
        "dimensions": len(data.train_images.shape) - 2,
    }


def build_arm(spec: StudySpec, arm: ArmSpec, seed: int, data: ImageData) -> BuiltModel:
    """Build the arm's model with the initial weights of a trial of that seed."""
    example = data.train_images[torch.arange(min(_EXAMPLES, len(data.train_targets)))]
    sizes = network_sizes(spec, data)
    return build_model(spec.model, activation_factory(arm), **sizes, seed=seed, example=example)


def build_empty(spec: StudySpec, arm: ArmSpec, seed: int, facts: Mapping[str, Any]) -> BuiltModel:
    """Build the arm's model for weights that will be loaded into it, without the data and the initial checkpoint.

    Args:
        spec: Spec of the trial.
        arm: The arm.
        seed: Seed of the trial.
        facts: Facts of the data: the `shape` of an image, and the sizes of the `network`.
    """
    model = spec.model.model_copy(update={"checkpoint": None})
    example = torch.randn(_EXAMPLES, *facts["shape"], generator=torch.Generator().manual_seed(0))
    return build_model(model, activation_factory(arm), **facts["network"], seed=seed, example=example)
