"""Split of the loaded training images into those that a trial trains on and those that it validates on."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from slopewise.errors import SpecError
from slopewise.study._spec import StudySpec
from slopewise.study._streams import stream
from slopewise.study.data import ImageData, split, subset


def training_part(spec: StudySpec, data: ImageData, seed: int) -> tuple[Tensor, Tensor]:
    """Return the ascending indices of the images that a trial trains on, and of those that it validates on.

    If `train_size` is below the number of loaded training images, as in a cell of a study, the trial trains on a
    subset of the images that the seed does not hold out: `train_size` * (1 - `validation_fraction`) of them, rounded.
    Class counts in the subset differ by at most one. Subsets are nested: a smaller one is part of a larger one. The
    validation part is the same for every `train_size`.

    Raises:
        SpecError: There are too few images for this `train_size`, for its classes or for one batch.
    """
    fraction, size, loaded = spec.data.validation_fraction, spec.data.train_size, len(data.train_targets)
    kept, held_out = split(data.train_targets, data.kind, fraction, stream(seed, "split"))
    if size is None or size == loaded:
        return kept, held_out
    if size > loaded:
        raise SpecError(f"data.train_size: {size} images, but the study loads only {loaded} training images")
    count = round(size * (1 - fraction))
    if spec.train.batch_size > count:
        raise SpecError(
            f"train.batch_size: {spec.train.batch_size} images, but data.train_size = {size} leaves only {count} to "
            "train on: make the batch smaller, or train_size larger"
        )
    targets = kept  # without labels, only their number matters
    if data.kind == "labels":
        targets = data.train_targets[kept]
        counts = torch.bincount(targets)
        if counts.min() * len(counts) < count:
            most = math.floor(int(counts.min()) * len(counts) / (1 - fraction))
            raise SpecError(
                f"data.train_size: {size} leaves {count} images to train on, as many of each class, but the smallest "
                f"class has only {counts.min()} of the {len(kept)} that are not held out: give at most {most}"
            )
    # Each class is shuffled as a whole, whatever the size, so that smaller subsets are prefixes of larger ones.
    return kept[subset(targets, data.kind, count, stream(seed, "train-size"))], held_out
