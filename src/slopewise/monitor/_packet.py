"""Numbers of a sampled step on their way from the device to the host: one tensor, and what is read from each part."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
import torch.distributed
from torch import Tensor
from torch.distributed import ProcessGroup

T = TypeVar("T")


@dataclass(frozen=True)
class Part(Generic[T]):
    """One tensor in a packet.

    Attributes:
        place: Position among the parts of its kind.
        summed: True if the tensor is added up over processes.
        decode: Function that makes the result of the flat tensor, in float64 on the CPU.
    """

    place: int
    summed: bool
    decode: Callable[[Tensor], T]


class Packet:
    """Tensors that are sent to the host together, each with the function that reads it there.

    Example:
        >>> packet = Packet()
        >>> total = packet.add(torch.tensor([1.0, 2.0]), lambda flat: flat.sum().item())
        >>> first = packet.add_summed(torch.tensor([5.0]), lambda flat: int(flat[0]))
        >>> transfer = packet.send(None)
        >>> transfer.read(total), transfer.read(first)
        (3.0, 5)
    """

    def __init__(self) -> None:
        self._own: list[Tensor] = []
        self._summed: list[Tensor] = []

    def add(self, tensor: Tensor, decode: Callable[[Tensor], T]) -> Part[T]:
        """Add a tensor that is the same in every process."""
        self._own.append(tensor.flatten())
        return Part(len(self._own) - 1, summed=False, decode=decode)

    def add_summed(self, tensor: Tensor, decode: Callable[[Tensor], T]) -> Part[T]:
        """Add a tensor that is added up over the group's processes; each of them adds as many and as long ones."""
        self._summed.append(tensor.flatten())
        return Part(len(self._summed) - 1, summed=True, decode=decode)

    @property
    def device(self) -> torch.device | None:
        """Device of the first tensor; None while there is none."""
        return next((tensor.device for tensor in (*self._summed, *self._own)), None)

    def send(self, group: ProcessGroup | None) -> Transfer:
        """Start the transfer to the host, without waiting for the device.

        Args:
            group: Processes over which tensors are added up; None for this process alone.
        """
        return Transfer(self._summed, self._own, self.device or torch.device("cpu"), group)


class Transfer:
    """A packet on its way to the host; `Packet.send` makes it."""

    def __init__(
        self, summed: Sequence[Tensor], own: Sequence[Tensor], device: torch.device, group: ProcessGroup | None
    ) -> None:
        self._count = len(summed)
        self._sizes = [tensor.numel() for tensor in (*summed, *own)]
        flat = _concatenated(summed, device)
        if group is not None:
            torch.distributed.all_reduce(flat, group=group)
        flat = torch.cat([flat, _concatenated(own, device)])
        self._parts: list[Tensor] | None = None
        self._arrived: torch.Event | None = None
        if device.type == "cpu":
            self._host = flat
        else:
            self._host = torch.empty(flat.shape, dtype=flat.dtype, pin_memory=device.type == "cuda")
            self._host.copy_(flat, non_blocking=True)
            self._arrived = torch.Event(device.type)
            self._arrived.record()

    def ready(self) -> bool:
        """Return True if `read` would return at once."""
        return self._arrived is None or self._arrived.query()

    def read(self, part: Part[T]) -> T:
        """Return the result of a part; the first call waits until the packet has arrived."""
        if self._parts is None:
            if self._arrived is not None:
                self._arrived.synchronize()
            self._parts = list(self._host.double().split(self._sizes))
        return part.decode(self._parts[part.place + (0 if part.summed else self._count)])


def _concatenated(tensors: Sequence[Tensor], device: torch.device) -> Tensor:
    wide = torch.float32 if device.type == "mps" else torch.float64  # MPS has no float64
    return torch.cat([torch.empty(0, dtype=wide, device=device), *(tensor.to(device, wide) for tensor in tensors)])
