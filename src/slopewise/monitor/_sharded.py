"""Sharded parameters (DTensor), of which each process holds a part: figures of the whole.

Functions that are called collective must be called by every process, since each contributes its part.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
import torch.distributed
from torch import Tensor, nn
from torch.distributed import ProcessGroup

from slopewise.modules import is_sharded


def local(tensor: Tensor) -> Tensor:
    """Return the values in this process: its part of a sharded tensor, or the values of a sparse one."""
    tensor = tensor.detach()
    if is_sharded(tensor):
        return _summed(tensor).to_local()  # type: ignore[attr-defined, no-any-return]
    return tensor.coalesce().values() if tensor.is_sparse else tensor


def _summed(tensor: Tensor) -> Tensor:
    """Add up gradients of which each process holds one term."""
    placements = tensor.placements  # type: ignore[attr-defined]
    if not any(placement.is_partial() for placement in placements):
        return tensor
    from torch.distributed.tensor import Replicate

    settled = [Replicate() if placement.is_partial() else placement for placement in placements]
    return tensor.redistribute(placements=settled)  # type: ignore[attr-defined, no-any-return]


class Shards:
    """Sharded parameters of a model.

    All processes add up a table of the same shape, with zeros for parameters that a process has no norm of, so that it
    does not matter which of them hold an empty part, or which parameters have a gradient.
    """

    def __init__(self, parameters: Iterable[nn.Parameter]) -> None:
        self._together: dict[tuple[ProcessGroup, ...], list[nn.Parameter]] = {}
        for parameter in parameters:
            if is_sharded(parameter):
                self._together.setdefault(_parts_of(parameter), []).append(parameter)

    def __bool__(self) -> bool:
        return bool(self._together)

    def combine(self, *kinds: dict[nn.Parameter, Tensor]) -> None:
        """Turn norms of parts into norms of the whole, in place; collective.

        Args:
            kinds: Norms by parameter, of the same kinds in every process.
        """
        for groups, parameters in self._together.items():
            device = local(parameters[0]).device
            table = torch.zeros(len(kinds), len(parameters), dtype=torch.float64, device=device)
            for row, norms in zip(table, kinds, strict=True):
                _fill(row, parameters, norms)
            table.square_()
            for group in groups:
                torch.distributed.all_reduce(table, group=group)
            for row, norms in zip(table.sqrt_(), kinds, strict=True):
                norms.update((p, norm) for p, norm in zip(parameters, row, strict=True) if p in norms)


def _fill(row: Tensor, parameters: Iterable[nn.Parameter], norms: Mapping[nn.Parameter, Tensor]) -> None:
    known = {place: norms[p] for place, p in enumerate(parameters) if p in norms}
    if known:
        row[list(known)] = torch.stack(list(known.values())).to(row.dtype)


def _parts_of(parameter: nn.Parameter) -> tuple[ProcessGroup, ...]:
    """Return the groups of processes over which a parameter is sharded, without those over which it is replicated."""
    mesh, placements = parameter.device_mesh, parameter.placements  # type: ignore[attr-defined]
    return tuple(mesh.get_group(dim) for dim, placement in enumerate(placements) if not placement.is_replicate())
