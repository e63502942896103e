"""Sharding of a trial's network over its devices (FSDP2), and what the devices must share beside it.

`fully_shard` replaces each parameter by a DTensor, of which every rank holds a part. The whole is there only while the
block that it belongs to computes. So values are read through `slopewise.modules.whole`, by all ranks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed
from torch import Tensor, nn

from slopewise.modules import is_sharded, parameters_of, slope_name
from slopewise.study._spec_tables import HardwareSpec

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


def shard(model: nn.Module, mesh: DeviceMesh) -> nn.Module:
    """Shard a network in place over all ranks, block by block, and return it.

    Args:
        model: Network with the same structure on every rank; all get rank 0's values, as under DDP.
        mesh: Mesh of Fabric's `ModelParallelStrategy`.

    Returns:
        The same module.
    """
    from torch.distributed.fsdp import fully_shard

    for parameter in model.parameters():
        parameter.data = parameter.data.contiguous()  # weights in channels-last order are refused
    share_from_first([*model.parameters(), *model.buffers()])
    for part in (*blocks(model), model):
        fully_shard(part, mesh=mesh["data_parallel"])
    return model


def why_not_on(hardware: HardwareSpec, model: nn.Module) -> str | None:
    """Return the reason why a network cannot be trained on several devices, after a backward pass; None if it can.

    Example:
        >>> net, hardware = nn.Bilinear(1, 1, 1), HardwareSpec(devices=2, strategy="ddp")
        >>> net(torch.ones(1), torch.ones(1)).backward()
        >>> print(why_not_on(hardware, net))
        None
        >>> net.extra = nn.Parameter(torch.ones(()))
        >>> why_not_on(hardware, net)
        "'ddp' waits for a gradient of 'extra', which the loss does not depend on: freeze it, or take 'fsdp2'"
    """
    if hardware.devices == 1:
        return None
    learned = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    if hardware.strategy == "fsdp2":
        if numbers := [name for name, parameter in model.named_parameters() if not parameter.dim()]:
            return f"'fsdp2' cannot shard '{numbers[0]}', which has no dimension: give it the shape (1,), or take 'ddp'"
    elif unused := [name for name, parameter in learned.items() if parameter.grad is None]:
        return (
            f"'ddp' waits for a gradient of '{unused[0]}', which the loss does not depend on: freeze it, or take "
            "'fsdp2'"
        )
    return None


def blocks(model: nn.Module) -> list[nn.Module]:
    """Return the modules that are sharded for themselves, so that only one of them is whole at a time.

    They are the outermost modules below the model and its containers that hold a weight of two dimensions or more: a
    convolution of a plain network, a block of a residual one. All other parameters (slopes, norms between blocks) are
    few, and belong to the model's own group, as do those of blocks that share a parameter: it would be sharded once for
    each of them, and the parts would be trained apart.

    Example:
        >>> body = nn.Sequential(nn.Conv2d(1, 2, 3), nn.PReLU(2), nn.Sequential(nn.Linear(2, 2), nn.PReLU()))
        >>> [type(block).__name__ for block in blocks(nn.Sequential(body, nn.Flatten(), nn.Linear(2, 2)))]
        ['Conv2d', 'Linear', 'Linear']
    """
    parts = list(dict.fromkeys(_parts(model)))
    holders = Counter(parameter for part in parts for parameter in part.parameters())
    holders.update(model.parameters(recurse=False))
    return [part for part in parts if _is_large(part) and all(holders[p] == 1 for p in part.parameters())]


def _parts(module: nn.Module) -> Iterator[nn.Module]:
    for child in module.children():
        if isinstance(child, _CONTAINERS):
            yield from _parts(child)
        else:
            yield child


def _is_large(module: nn.Module) -> bool:
    return any(parameter.dim() > 1 for parameter in module.parameters())


@torch.no_grad()
def share_from_first(tensors: Iterable[Tensor]) -> None:
    """Give every rank the values that rank 0 has, in place."""
    for tensor in tensors:
        values = tensor.detach().contiguous()
        torch.distributed.broadcast(values, src=0)
        tensor.copy_(values)


def keep_within_bounds(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Move sharded slopes back into their bounds after each step.

    A layer does so in its next forward pass, but with a copy of the whole, from which nothing returns to the parts.

    Args:
        model: Network, sharded or not; without sharded slopes that have bounds, this does nothing.
        optimizer: Its optimizer.
    """
    bounded: list[tuple[Tensor, Any]] = [
        (parameter, module.bounds)
        for _, module, name, parameter in parameters_of(model)
        if name == slope_name(module) and getattr(module, "bounds", None) and is_sharded(parameter)
    ]

    @torch.no_grad()
    def project(*_: object) -> None:
        for parameter, bounds in bounded:
            parameter.clamp_(*bounds)

    if bounded:
        optimizer.register_step_post_hook(project)
