"""Training batches of a trial."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor

from slopewise.study._spec import StudySpec
from slopewise.study._streams import stream
from slopewise.study.data import Augment, ImageData

_AHEAD = 2**18  # bytes of images in batches that are made together, and wait in the cache for their step


def augmentation(spec: StudySpec, data: ImageData) -> Augment:
    """Return the augmentation of a study's training batches."""
    return Augment.resolve(spec.data.augment, height=data.train_images.shape[-2], flip=data.flip, kind=data.kind)


class Batches:
    """Shuffled, augmented training batches of one seed: the same for every arm and any number of devices."""

    def __init__(self, data: ImageData, index: Tensor, spec: StudySpec, seed: int) -> None:
        self.data, self.index = data, index
        self.size = min(spec.train.batch_size, len(index))
        self.augment = augmentation(spec, data)
        self.order, self.changes = stream(seed, "order"), stream(seed, "augment")
        self._on_first: Callable[[Tensor, Tensor], None] | None = None
        self._at_begin = self.order.get_state()  # at the beginning of the latest epoch
        self._at_batch = self.changes.get_state()  # behind the latest batch

    def state_dict(self, *, within: bool) -> dict[str, Tensor]:
        """Return the state of the random streams, after at least one batch.

        Args:
            within: True in the middle of an epoch, whose order is drawn again; False between two epochs.
        """
        order = self._at_begin if within else self.order.get_state()
        return {"order": order, "augment": self._at_batch}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from the state of other batches of the same seed, whose first one was seen."""
        self.order.set_state(state["order"])
        self.changes.set_state(state["augment"])
        self._at_batch = state["augment"]
        self._on_first = None

    def on_first(self, call: Callable[[Tensor, Tensor], None]) -> None:
        """Call a function with the first batch, when it is made."""
        self._on_first = call

    def __len__(self) -> int:
        return len(self.index) // self.size

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return self.epoch()

    def epoch(self, done: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches of an epoch, in an order of its own.

        Args:
            done: Number of batches that the epoch has had already, before a checkpoint.
        """
        self._at_begin = self.order.get_state()
        order = self.index[torch.randperm(len(self.index), generator=self.order)]
        parts = torch.split(order, self.size)[done : len(self)]
        # Several small batches at once: what makes them has left the cache after a step, and takes four times as long.
        ahead = max(1, _AHEAD // (4 * self.size * math.prod(self.data.train_images.shape[1:])))
        for start in range(0, len(parts), ahead):
            for images, targets, self._at_batch in [self._batch(chosen) for chosen in parts[start : start + ahead]]:
                if self._on_first:
                    self._on_first(images, targets)
                    self._on_first = None
                yield images, targets

    def _batch(self, chosen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return images and targets of an index, and the state of the random stream behind them."""
        images, targets = self.data.train_images[chosen], self.data.train_targets[chosen]
        return *self.augment(images, targets, self.changes), self.changes.get_state()
