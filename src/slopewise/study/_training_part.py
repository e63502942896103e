"""Images that a trial trains on and validates on, out of the loaded training images."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from slopewise.errors import SpecError
from slopewise.study._spec import StudySpec
from slopewise.study._streams import stream
from slopewise.study.data import ImageData, split, subset


def training_part(spec: StudySpec, data: ImageData, seed: int) -> tuple[Tensor, Tensor]:
    """Return ascending indices of the images (to train on, to validate on) of a trial.

    A spec with a `train_size` below the number of loaded training images, as in a cell of a study, trains on a subset
    of those that the seed keeps: `train_size` * (1 - `validation_fraction`) of them, rounded, with as many of each
    class, give or take one. Those of a smaller size are among those of a larger one. The validation part stays whole.

    Raises:
        SpecError: There are too few images for the size or for the classes, or fewer than a batch.
    """
    fraction, size, loaded = spec.data.validation_fraction, spec.data.train_size, len(data.train_targets)
    kept, held_out = split(data.train_targets, data.kind, fraction, stream(seed, "split"))
    if size is None or size == loaded:
        return kept, held_out
    if size > loaded:
        raise SpecError(f"data.train_size: {size} images, but the study loads only {loaded} to train on")
    count = round(size * (1 - fraction))
    if spec.train.batch_size > count:
        raise SpecError(
            f"train.batch_size: {spec.train.batch_size} images, but data.train_size = {size} leaves only {count} to "
            "train on: make the batch smaller, or the size larger"
        )
    targets = kept  # of which only the number matters
    if data.kind == "labels":
        targets = data.train_targets[kept]
        counts = torch.bincount(targets)
        if counts.min() * len(counts) < count:
            most = math.floor(int(counts.min()) * len(counts) / (1 - fraction))
            raise SpecError(
                f"data.train_size: {size} leaves {count} images to train on, as many of each class; but of the "
                f"{len(kept)} that are not held out, the smallest class has {counts.min()}: give at most {most}"
            )
    # Each class is shuffled whole whatever the size, so that smaller subsets are the beginnings of larger ones.
    return kept[subset(targets, data.kind, count, stream(seed, "train-size"))], held_out
