"""Names of tensors, and what wrappers made of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor

from slopewise.errors import CheckpointError

# PyTorch's wrappers stand anywhere in a name; data parallelism and weight averaging wrap the whole network.
_WRAPPERS = frozenset({"_orig_mod", "_fsdp_wrapped_module", "_fpw_module", "_checkpoint_wrapped_module"})
AVERAGED = "n_averaged"  # the counter that torch.optim.swa_utils.AveragedModel saves beside "module."


class StateDict(dict[str, Tensor]):
    """Tensors by name, with the `_metadata` of `torch.nn.Module.state_dict` where there is one.

    PyTorch's `load_state_dict` looks there for the version of each module that wrote the tensors. Some networks refuse
    a state dict without it, and BatchNorm decides by it which tensors an older one lacks.

    Example:
        >>> import torch
        >>> StateDict({"weight": torch.ones(2)}, {"": {"version": 1}})
        {'weight': tensor([1., 1.])}
    """

    def __init__(
        self, tensors: Mapping[str, Tensor] | Iterable[tuple[str, Tensor]], metadata: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(tensors)
        if metadata is not None:
            self._metadata = dict(metadata)

    def renamed(self, names: Mapping[str, str], modules: Mapping[str, str]) -> StateDict:
        """Return the tensors of `names` under new names, with the metadata of `modules` under theirs.

        Where two modules get one name, the metadata of the later one counts: wrappers stand before what they wrap.
        """
        metadata = metadata_of(self)
        kept = None if metadata is None else {new: metadata[old] for old, new in modules.items() if old in metadata}
        return StateDict({new: self[old] for old, new in names.items()}, kept)


def metadata_of(state_dict: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the `_metadata` of a state dict, None where it has none."""
    return getattr(state_dict, "_metadata", None)


def strip_prefixes(tensors: Mapping[str, Tensor], prefixes: Sequence[str] = ("module.",)) -> StateDict:
    """Rename a wrapped network's tensors to the names that they have without the wrapper.

    `_orig_mod` (torch.compile) and the wrappers of FSDP and activation checkpointing go wherever they stand in a
    name. The prefixes go where *every* name begins with them, however often. `n_averaged`, which AveragedModel adds
    beside its "module.", goes with them.

    Args:
        tensors: State dict; its `_metadata` is kept.
        prefixes: Prefixes to remove. "module." is that of DataParallel, DistributedDataParallel and AveragedModel.
            Pass ``("module.", "model.")`` for the network inside a LightningModule that calls it `model`; this is no
            default, since a network may itself call its layers so.

    Raises:
        CheckpointError: Two names would become one.

    Example:
        >>> import torch
        >>> list(strip_prefixes({"module._orig_mod.act.weight": torch.ones(1)}))
        ['act.weight']
    """
    names = {name: without_wrappers(name) for name in tensors}
    if len(set(names.values())) < len(names):
        raise CheckpointError("a network and its compiled or wrapped copy are both in the state dict: keep one of them")
    modules = {name: without_wrappers(name) for name in metadata_of(tensors) or ()}
    while prefix := _common(names.values(), prefixes):
        names = {old: new.removeprefix(prefix) for old, new in names.items() if new != AVERAGED}
        modules = below(prefix, modules)
    return StateDict(tensors, metadata_of(tensors)).renamed(names, modules)


def below(prefix: str, modules: Mapping[str, str]) -> dict[str, str]:
    """Return the modules under a prefix, their new names without it.

    Example:
        >>> below("net.", {"": "", "net": "net", "net.conv": "net.conv", "loss": "loss"})
        {'net': '', 'net.conv': 'conv'}
    """
    return {old: f"{new}."[len(prefix) : -1] for old, new in modules.items() if f"{new}.".startswith(prefix)}


def without_wrappers(name: str) -> str:
    """Return a name without the parts that PyTorch's wrappers add."""
    return ".".join(part for part in name.split(".") if part not in _WRAPPERS)


def _common(names: Collection[str], prefixes: Sequence[str]) -> str | None:
    own = [name for name in names if name != AVERAGED]
    return next((prefix for prefix in prefixes if own and all(name.startswith(prefix) for name in own)), None)
