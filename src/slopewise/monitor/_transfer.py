"""Numbers on their way from the device to the host, without making either wait for the other."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.distributed
from torch import Tensor
from torch.distributed import ProcessGroup


class Transfer:
    """Flat tensors, sent as one.

    Args:
        summed: to be added up over the group's processes; every process gives as many and as long ones.
        own: the same in all of them.
        group: None for a single process.
    """

    def __init__(self, summed: Sequence[Tensor], own: Sequence[Tensor], group: ProcessGroup | None) -> None:
        self._sizes = [part.numel() for part in (*summed, *own)]
        device = next((part.device for part in (*summed, *own)), torch.device("cpu"))
        flat = _together(summed, device)
        if group is not None:
            torch.distributed.all_reduce(flat, group=group)
        flat = torch.cat([flat, _together(own, device)])
        self._arrived: torch.Event | None = None
        if device.type == "cpu":
            self._host = flat
        else:
            self._host = torch.empty(flat.shape, dtype=flat.dtype, pin_memory=device.type == "cuda")
            self._host.copy_(flat, non_blocking=True)
            self._arrived = torch.Event(device.type)
            self._arrived.record()

    def ready(self) -> bool:
        """Whether `read` would return at once."""
        return self._arrived is None or self._arrived.query()

    def read(self) -> list[Tensor]:
        """The parts in float64 on the CPU, in the order given."""
        if self._arrived is not None:
            self._arrived.synchronize()
        return list(self._host.double().split(self._sizes))


def _together(parts: Sequence[Tensor], device: torch.device) -> Tensor:
    wide = torch.float32 if device.type == "mps" else torch.float64
    return torch.cat([torch.empty(0, dtype=wide, device=device), *(part.to(device, wide) for part in parts)])
