"""Kinds of targets, which tasks ask for, and the random parts of training data that depend on them.

| kind | targets of N images | classes |
| --- | --- | --- |
| `labels` | int64 (N,), 0 to K - 1 | names of the K classes |
| `multilabel` | float32 (N, K), 0 or 1 | names of the K labels |
| `masks` | int64 (N, *spatial sizes of the images), 0 to K - 1 or `IGNORED` | names of the K classes |
| `values` | float32 (N, D) | names of the D values |
| `images` | float32 (N, C, *spatial sizes) from 0 to 1, of the images' sizes times one whole factor | none |

The table describes targets as trials get them. Sources return them in the number type of their files; `IGNORED` stands
for pixels of the value `data.ignore_index`. Images are standardised per channel, except where the targets are images:
there, both are divided by the range of the data, since networks add their output to their input.
"""

from __future__ import annotations

from typing import Literal, Protocol

import torch
from torch import Tensor

from slopewise.errors import DataError

TargetKind = Literal["labels", "multilabel", "masks", "values", "images"]
NOUNS: dict[TargetKind, str] = {
    "labels": "labels",
    "multilabel": "several labels an image",
    "masks": "masks",
    "values": "values",
    "images": "images as targets",
}  # in messages
IGNORED = -100  # in masks: a pixel without a class, which F.cross_entropy leaves out by default


class Targets(Protocol):
    """Targets that can be gathered by index, as the module's docstring describes, for instance a tensor."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape, with the number of images first."""

    def __getitem__(self, index: Tensor) -> Tensor:
        """Return the targets of an index (B,)."""

    def __len__(self) -> int:
        """Return the number of images."""


def split(targets: Targets, kind: TargetKind, fraction: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return ascending indices (kept, held out): of labels the same fraction of each class, else of all images.

    At least one image is kept.
    """
    if kind == "labels":
        return stratified_split(targets[torch.arange(len(targets))], fraction, generator)
    share = min(round(fraction * len(targets)), len(targets) - 1)
    order = torch.randperm(len(targets), generator=generator)
    return order[share:].sort().values, order[:share].sort().values


def subset(targets: Targets, kind: TargetKind, size: int, generator: torch.Generator) -> Tensor:
    """Return ascending indices of a random subset: of labels as many of each class, give or take one.

    Raises:
        DataError: There are too few images.
    """
    if kind == "labels":
        return balanced_subset(targets[torch.arange(len(targets))], size, generator)
    if size > len(targets):
        raise DataError(f"data.train_size: {size} images, but there are only {len(targets)} training images")
    return torch.randperm(len(targets), generator=generator)[:size].sort().values


def balanced_subset(labels: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Return ascending indices of a random subset with the same number of images of each class, give or take one.

    Raises:
        DataError: A class has fewer images than its share.

    Example:
        >>> labels = torch.tensor([0, 0, 0, 1, 1, 1, 1, 1])
        >>> labels[balanced_subset(labels, 4, torch.Generator())].tolist()
        [0, 0, 1, 1]
    """
    classes = int(labels.max()) + 1
    shares = [size // classes + (k < size % classes) for k in range(classes)]
    chosen = []
    for k, share in enumerate(shares):
        members = (labels == k).nonzero().flatten()
        if len(members) < share:
            raise DataError(
                f"data.train_size: {size} images of {classes} classes need {share} of class {k}, which has only "
                f"{len(members)}; at most {len(members) * classes} will do"
            )
        chosen.append(members[torch.randperm(len(members), generator=generator)[:share]])
    return torch.cat(chosen).sort().values


def stratified_split(labels: Tensor, fraction: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return ascending indices (kept, held out): the same fraction of each class, of which at least one image is kept.

    Example:
        >>> kept, held_out = stratified_split(torch.tensor([0] * 10 + [1] * 20), 0.2, torch.Generator())
        >>> len(kept), len(held_out)
        (24, 6)
    """
    held_out_parts = []
    for k in range(int(labels.max()) + 1):
        members = (labels == k).nonzero().flatten()
        share = min(round(fraction * len(members)), max(len(members) - 1, 0))
        held_out_parts.append(members[torch.randperm(len(members), generator=generator)[:share]])
    held_out = torch.cat(held_out_parts).sort().values
    is_kept = torch.ones(len(labels), dtype=torch.bool)
    is_kept[held_out] = False
    return is_kept.nonzero().flatten(), held_out
