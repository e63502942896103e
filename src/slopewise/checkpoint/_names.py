"""Names of tensors, and the prefixes that wrappers add to them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor

from slopewise.errors import CheckpointError
from slopewise.modules import without_wrappers

AVERAGED = "n_averaged"  # the counter that torch.optim.swa_utils.AveragedModel saves beside "module."


class StateDict(dict[str, Tensor]):
    """Tensors by name, with the `_metadata` of `torch.nn.Module.state_dict` if there is any.

    PyTorch's `load_state_dict` reads from it the version of each module that wrote the tensors. Some networks refuse
    a state dict without it, and BatchNorm uses it to find out which tensors an older state dict lacks.

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

        If two modules get the same name, the metadata of the later one is kept: a wrapper precedes its content.
        """
        metadata = metadata_of(self)
        new_metadata = (
            None if metadata is None else {new: metadata[old] for old, new in modules.items() if old in metadata}
        )
        return StateDict({new: self[old] for old, new in names.items()}, new_metadata)


def metadata_of(state_dict: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the `_metadata` of a state dict, or None if it has none."""
    return getattr(state_dict, "_metadata", None)


def strip_prefixes(tensors: Mapping[str, Tensor], prefixes: Sequence[str] = ("module.",)) -> StateDict:
    """Rename a wrapped network's tensors to the names that they have without the wrapper.

    `_orig_mod` (torch.compile) and the wrappers of FSDP and activation checkpointing are removed anywhere in a name.
    A prefix is removed, repeatedly, if *every* name begins with it. `n_averaged`, which AveragedModel adds beside its
    "module.", is removed together with a prefix.

    Args:
        tensors: State dict; its `_metadata` is kept.
        prefixes: Prefixes to remove. "module." is that of DataParallel, DistributedDataParallel and AveragedModel.
            Pass ``("module.", "model.")`` for the network inside a LightningModule that calls it `model`; this is not
            the default, since a network may have a submodule of that name itself.

    Raises:
        CheckpointError: Two names would become the same.

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
    """Return the modules under a prefix, with the prefix removed from their new names.

    Example:
        >>> below("net.", {"": "", "net": "net", "net.conv": "net.conv", "loss": "loss"})
        {'net': '', 'net.conv': 'conv'}
    """
    return {old: f"{new}."[len(prefix) : -1] for old, new in modules.items() if f"{new}.".startswith(prefix)}


def _common(names: Collection[str], prefixes: Sequence[str]) -> str | None:
    own = [name for name in names if name != AVERAGED]
    return next((prefix for prefix in prefixes if own and all(name.startswith(prefix) for name in own)), None)
