"""Processes that train one model together, and add up their counts."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.distributed
from torch import nn
from torch.distributed import ProcessGroup

from slopewise.modules import unwrap
from slopewise.monitor._packet import Packet, Part
from slopewise.monitor._tally import SiteLayout, SiteReading, SiteTable, Tally


def unwrapped(model: nn.Module) -> tuple[nn.Module, ProcessGroup | None, bool]:
    """Return the network within torch.compile and DistributedDataParallel, its processes, and True if it is compiled.

    Raises:
        ValueError: The model is wrapped in torch.nn.DataParallel, which runs copies of modules in threads that no hook
            can tell apart, or in FullyShardedDataParallel, whose pieces of parameters do not say which they are of.
    """
    if any(isinstance(module, nn.DataParallel) for module in model.modules()):
        raise ValueError(
            "the model is wrapped in torch.nn.DataParallel, whose copies run in threads: watch model.module on one "
            "device, or train with DistributedDataParallel"
        )
    if any(hasattr(module, "_fsdp_wrapped_module") and not _unsharded(module) for module in model.modules()):
        raise ValueError(
            "the model is wrapped in FullyShardedDataParallel, which leaves each process flat pieces of its "
            "parameters: shard it with torch.distributed.fsdp.fully_shard, which can be watched"
        )
    within = unwrap(model, {"compiled": "open", "distributed": "open"})
    wrappers = [wrapper for _, wrapper in within.wrappers]
    groups = [each.process_group for each in wrappers if isinstance(each, nn.parallel.DistributedDataParallel)]
    return within.model, groups[-1] if groups else None, within.has("compiled")


def _unsharded(wrapper: nn.Module) -> bool:
    """Return True if the older FSDP has left every parameter whole and by itself, as it can for one process."""
    return bool(getattr(wrapper, "_use_orig_params", False)) and wrapper.sharding_strategy.name == "NO_SHARD"  # type: ignore[union-attr]


class Ranks:
    """Processes whose counts are added up.

    Args:
        group: The processes; None for this one alone.

    Attributes:
        group: The processes; None if there is only one.
        first: True in the process that writes to sinks.
        notes: Notes about call sites that are not counted.
    """

    def __init__(self, group: ProcessGroup | None) -> None:
        self.group = group if group is not None and torch.distributed.get_world_size(group) > 1 else None
        self.first = self.group is None or torch.distributed.get_rank(self.group) == 0
        self.notes: dict[str, None] = {}
        self._layouts: list[SiteLayout] | None = None

    def pack(self, tallies: Mapping[str, Tally], packet: Packet, *, alone: bool) -> Part[list[SiteReading]]:
        """Add the sums of call sites to a packet, which adds them up over the processes.

        In the first sampled step, the processes tell each other their call sites. From then on all of them send the
        same ones in the same order, with zeros for a site that a process has not met.

        Args:
            tallies: Sums by call site.
            packet: Packet of the step, with this model's parameters in it: a process that met no call site has no
                other device to put zeros on.
            alone: True if other processes do not take part.
        """
        layouts = [tally.layout for tally in tallies.values()]
        if self.group is not None and not alone:
            layouts = self._agreed(layouts)
        table = SiteTable(layouts)
        return packet.add_summed(table.pack(tallies, packet.device), table.decode)

    def _agreed(self, own: list[SiteLayout]) -> list[SiteLayout]:
        """Return the call sites that all processes send; those that were met later than in the first step are noted."""
        if self._layouts is None:
            of_all: list[list[SiteLayout]] = [[] for _ in range(torch.distributed.get_world_size(self.group))]
            torch.distributed.all_gather_object(of_all, own, group=self.group)
            self._layouts = list(dict.fromkeys(layout for layouts in of_all for layout in layouts))
        for layout in own:
            if layout not in self._layouts:
                note = f"'{layout.site}' was not met in the first step, and is not counted with several processes"
                self.notes[note] = None
        return self._layouts
