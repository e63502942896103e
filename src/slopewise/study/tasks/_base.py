"""The contract of a task: what a network is trained for.

A task states the loss of an output, the metrics that networks are scored by (the first is the primary one, which a
study's verdicts are about), the value of each for a network that knows nothing, and the shape of output that it
expects. The training loop, the divergence guard and the recorder know nothing else of it.

Metrics are `slopewise.records.MetricRecord`, which documents each field. `chance` and `span` are in the unit of the
scores themselves, before `scale`: balanced accuracy over ten classes, a fraction that is printed in percent, is
`MetricRecord("balanced_accuracy", "balanced accuracy", "points", "higher", scale=100, digits=2, chance=0.1, span=1)`.
The primary metric is that of verdicts, margin, curves and the terminal; the others are exploratory contrasts, on the
page and in JSON, without chance.

A task is a class in a file of this folder, or a user's own, named in the spec as `module:Class`. It is made in every
process from the spec's options, and then bound to the data of the study (`bind`), so it holds no state of a trial.
`slopewise.testing.check_task` checks the contract.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from torch import Tensor

from slopewise.records import MetricRecord

if TYPE_CHECKING:
    from slopewise.study.data import ImageData, TargetKind

Reduction = Literal["mean", "sum"]


class Scorer(ABC):
    """Scores of a part of the data, accumulated batch by batch, as torchmetrics' metrics do."""

    @abstractmethod
    def update(self, output: Tensor, target: Tensor) -> None:
        """Add a batch.

        Args:
            output: Output of the network for a batch, detached.
            target: Targets of the batch, on the same device.
        """

    @abstractmethod
    def compute(self) -> dict[str, Tensor]:
        """Return the scores of all batches so far, by metric: float64 numbers on the output's device."""

    def by_class(self) -> dict[str, Tensor]:
        """Return scores of each class (K,) of all batches so far, NaN for classes without one, by name; {} if none."""
        return {}

    def pool(self) -> None:  # noqa: B027 - most scorers are means
        """Gather what the scorers of all ranks hold, before `compute` on every rank; called once if there are several.

        Scores are averaged over the ranks in any case: a scorer of plain means over images need not do anything.
        """

    def state_dict(self) -> dict[str, Any] | None:
        """Return all that has been seen, as tensors, numbers, text, None, dicts and lists; by default None.

        A checkpoint in the middle of an epoch needs the state of the training scorer. If there is None, checkpoints
        wait for the end of an epoch, and so does a trial that SIGTERM asks to stop.
        """
        return None

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what another scorer of the task has seen, given what its `state_dict` returned.

        Args:
            state: State of the other scorer, its tensors on the device of the outputs.
        """
        raise NotImplementedError(f"{type(self).__name__} has a state_dict, but no load_state_dict")


class Task(ABC):
    """Base class of tasks; the module's docstring states the contract.

    Args of a subclass's constructor are the spec's `task.options`; a wrong one raises `SpecError`.

    Attributes:
        targets: Kind of targets that the task needs; "labels" by default.
    """

    targets: ClassVar[TargetKind] = "labels"

    def bind(self, data: ImageData) -> Self:  # noqa: ARG002 - most tasks do without
        """Return the task for the data of a study: the same one, unless loss or scores depend on the data.

        Raises:
            SpecError: The task cannot be scored on these data.
        """
        return self

    @abstractmethod
    def metrics(self, data: ImageData) -> tuple[MetricRecord, ...]:
        """Return the metrics that `scorer` computes for these data, the primary one first."""

    @property
    def loss_metric(self) -> MetricRecord:
        """Definition of the loss as a metric; by default in nats, lower is better."""
        return MetricRecord("loss", "loss", "nats", "lower")

    @abstractmethod
    def outputs(self, data: ImageData) -> int:
        """Return the number of outputs or output channels that a network needs, which it gets as `num_classes`."""

    @abstractmethod
    def fault(self, output: object, target: Tensor, data: ImageData) -> str | None:
        """Return what the network must return instead of this output for a batch; None if the output fits.

        The words follow "the model ... must return": "logits (8, 10) (images, classes)".
        """

    @abstractmethod
    def loss(self, output: Tensor, target: Tensor, reduction: Reduction = "mean") -> Tensor:
        """Return the loss of a batch: a scalar.

        Args:
            output: Output of the network.
            target: Targets of the batch, on the same device.
            reduction: Reduction over the images of the batch: "mean", which is trained on, or "sum".
        """

    @abstractmethod
    def scorer(self) -> Scorer:
        """Return a new scorer, which has seen nothing."""

    def training_scorer(self) -> Scorer:
        """Return a new scorer for training batches, of which the primary metric is enough; by default `scorer`."""
        return self.scorer()
