"""Parts of a trial before its first step: device, split, batches, network, optimizer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slopewise.study._batches import Batches
from slopewise.study._network import build_arm
from slopewise.study._optimizer import build_optimizer, epochs_of
from slopewise.study._spec import StudySpec
from slopewise.study._spec_tables import ArmSpec
from slopewise.study._training_part import training_part
from slopewise.study._trial._sharding import keep_within_bounds
from slopewise.study.data import ImageData
from slopewise.study.models import BuiltModel, continue_from_
from slopewise.study.tasks import bound_task

if TYPE_CHECKING:
    from slopewise.study._trial._fabric import Device


class Setup:
    """Parts that a trial is made of.

    Attributes:
        fabric, spec, arm, seed, data: Arguments of the trial. The further argument `donor` is the trained network that
            the arm starts from; None for a fresh start.
        task: Task of the study.
        kept, held_out: Indices of the images to train on and to validate on, out of the training images.
        batches: Training batches of the seed.
        built: The network and its call sites.
        init_digest: Digest of the initial weights without the slopes.
        epochs: Number of epochs of the arm.
        model, optimizer: The network and its optimizer, as Fabric wraps them for the device.
        trained: Parameters of the optimizer.
        scheduler: Schedule of the learning rate.
    """

    def __init__(
        self,
        fabric: Device,
        spec: StudySpec,
        arm: ArmSpec,
        seed: int,
        data: ImageData,
        donor: BuiltModel | None = None,
    ) -> None:
        self.fabric, self.spec, self.arm, self.seed, self.data = fabric, spec, arm, seed, data
        self.task = bound_task(spec.task, data)
        self.kept, self.held_out = training_part(spec, data, seed)
        self.batches = Batches(data, self.kept, spec, seed)
        self.built = build_arm(spec, arm, seed, data)
        if donor is not None:
            continue_from_(self.built, donor, arm)
        self.init_digest = self.built.init_digest()
        self.epochs = epochs_of(spec.train, arm)
        self.model = fabric.setup_module(self.built.model)
        # Afterwards, since sharding replaces the parameters.
        optimizer, self.scheduler = build_optimizer(self.built.model, spec.train, arm, len(self.batches))
        keep_within_bounds(self.built.model, optimizer)
        self.trained = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        self.optimizer: Any = fabric.setup_optimizers(optimizer)


def still(arm: ArmSpec) -> ArmSpec:
    """Return the arm with a learning rate of 0 and without a start, so that its steps change no weights."""
    return arm.model_copy(update={"lr": 0.0, "start": None})
