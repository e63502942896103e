"""Device of a trial: Lightning Fabric, or all that one CPU in float32 needs of it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor, nn

from slopewise.study._spec_tables import HardwareSpec
from slopewise.study._trial._sharding import shard

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    Device: TypeAlias = "Fabric | OneCpu"


class OneCpu:
    """One CPU in float32, where Fabric would leave networks, inputs, losses and steps as they are.

    Fabric takes longer to import than a short trial to train, and some calls in each step. The attributes are those of
    Fabric that a trial uses.
    """

    device = torch.device("cpu")
    world_size, global_rank, is_global_zero = 1, 0, True

    def launch(self) -> None:
        """Do nothing: there is one process."""

    def setup_module(self, module: nn.Module) -> nn.Module:
        """Return the network."""
        return module

    def setup_optimizers(self, optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
        """Return the optimizer."""
        return optimizer

    def autocast(self) -> AbstractContextManager[None]:
        """Return a context that casts nothing."""
        return nullcontext()

    def backward(self, loss: Tensor) -> None:
        """Compute the gradients of a loss."""
        torch.autograd.backward(loss)


def make_fabric(hardware: HardwareSpec) -> Device:
    """Return the device of one trial; in a rank of several, `Fabric.launch` must follow."""
    if (hardware.accelerator, hardware.devices, hardware.precision) == ("cpu", 1, "32-true"):
        return OneCpu()
    from lightning_fabric import Fabric
    from lightning_fabric.plugins import DoublePrecision
    from lightning_fabric.plugins.environments.lightning import LightningEnvironment
    from lightning_fabric.strategies.model_parallel import ModelParallelStrategy

    if hardware.devices == 1:
        return Fabric(accelerator=hardware.accelerator, devices=1, precision=hardware.precision)
    sharded = hardware.strategy == "fsdp2"
    # Fabric refuses the name of this precision beside this strategy, but they do not interfere with each other.
    double = sharded and hardware.precision == "64-true"
    return Fabric(
        accelerator=hardware.accelerator,
        devices=hardware.devices,
        strategy=ModelParallelStrategy(shard, hardware.devices, 1) if sharded else "ddp",
        precision=None if double else hardware.precision,
        # Under Slurm, Fabric would take the ranks for tasks of the job.
        plugins=[LightningEnvironment(), *([DoublePrecision()] if double else [])],
    )


def precision_state(fabric: Device) -> dict[str, Any]:
    """Return the state of the precision for a checkpoint: the scale of the loss, with float16."""
    return {} if isinstance(fabric, OneCpu) else fabric.strategy.precision.state_dict()


def load_precision_state(fabric: Device, state: Mapping[str, Any]) -> None:
    """Go on from the state of another trial's precision."""
    if not isinstance(fabric, OneCpu):
        fabric.strategy.precision.load_state_dict(dict(state))
