"""One model trained by several processes: whose numbers are added up."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
import torch.distributed
from torch import Tensor, nn
from torch.distributed import ProcessGroup

from slopewise.modules import unwrap
from slopewise.monitor._tally import Tally, UnitStates, packed_length, reader
from slopewise.recording import SiteSample

_Site = tuple[str, str, int]  # its name, activation and number of units


def unwrapped(model: nn.Module) -> tuple[nn.Module, ProcessGroup | None, bool]:
    """The network within torch.compile and DistributedDataParallel, the latter's processes, whether it is compiled.

    Raises:
        ValueError: torch.nn.DataParallel runs copies of modules in threads, which no hook can tell apart;
            FullyShardedDataParallel keeps parts of parameters that do not say of what.
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
    """Tell whether the older FSDP has left all parameters whole, each by itself, as for one process it can."""
    return bool(getattr(wrapper, "_use_orig_params", False)) and wrapper.sharding_strategy.name == "NO_SHARD"  # type: ignore[union-attr]


class Ranks:
    """The processes whose counts are added up; with no group, this one alone."""

    def __init__(self, group: ProcessGroup | None) -> None:
        self.group = group if group is not None and torch.distributed.get_world_size(group) > 1 else None
        self.first = self.group is None or torch.distributed.get_rank(self.group) == 0
        self.notes: dict[str, None] = {}
        self._sites: list[_Site] | None = None

    def pack(
        self, tallies: Mapping[str, Tally], device: torch.device | None = None, *, alone: bool
    ) -> tuple[list[Tensor], Callable[[Sequence[Tensor]], list[tuple[SiteSample, UnitStates]]]]:
        """What is to be added up, and what reads the sums.

        The first time, processes tell each other their call sites; from then on all send the same, in the same order,
        on one `device` each: one that met no site has no other to go by.
        """
        if self.group is None or alone:
            sites = [(tally.site, tally.activation, tally.units) for tally in tallies.values()]
        else:
            sites = self._agreed(tallies)
        device = next((tally.sums.device for tally in tallies.values()), device)
        parts = [
            tallies[site].pack()
            if site in tallies and tallies[site].units == units
            else torch.zeros(packed_length(units), device=device)
            for site, _, units in sites
        ]
        readers = [reader(*site) for site in sites]
        return parts, lambda sums: [found for read, part in zip(readers, sums, strict=True) if (found := read(part))]

    def _agreed(self, tallies: Mapping[str, Tally]) -> list[_Site]:
        own = [(tally.site, tally.activation, tally.units) for tally in tallies.values()]
        if self._sites is None:
            all_sites: list[list[_Site]] = [[] for _ in range(torch.distributed.get_world_size(self.group))]
            torch.distributed.all_gather_object(all_sites, own, group=self.group)
            self._sites = list(dict.fromkeys(site for sites in all_sites for site in sites))
        for site in own:
            if site not in self._sites:
                self.notes[f"'{site[0]}' was not met in the first step, and is not counted with several processes"] = (
                    None
                )
        return self._sites
