"""From what was saved to the state dict in it, which training scripts put at many places."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from torch import Tensor

from slopewise.checkpoint._files import CheckpointError, read_file
from slopewise.errors import nearest

# PyTorch's wrappers stand anywhere in a name; data parallelism and weight averaging wrap the whole network.
_WRAPPERS = frozenset({"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})
_AVERAGED = "n_averaged"  # the counter that torch.optim.swa_utils.AveragedModel saves beside "module."


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A state dict and where in its file it was.

    Attributes:
        key: the keys that lead to it, joined with dots, as in "state_dict"; empty where it is the file's only content.
        tensors: by name, in the file's order, on the CPU.
    """

    key: str
    tensors: dict[str, Tensor]


def load_state_dict(path: str | PathLike[str], key: str | None = None) -> dict[str, Tensor]:
    """The tensors of a checkpoint by name, on the CPU, without running any code of the file.

    Read are files of `torch.save` (with ``weights_only=True``) and of safetensors, told apart by their content, and
    the index of a checkpoint in parts (`*.safetensors.index.json`, `pytorch_model.bin.index.json`).

    The state dict may be the whole file or stand below keys, as in ``{"state_dict": ..., "optimizer": ...}``. It is
    the mapping from strings of which at least half the values are tensors, one with a dimension among them.
    Optimizers (mappings with `state` and `param_groups`) and lists are not searched. Where several are left, as the
    network and its moving average, `key` must pick one. Entries that are no tensors are left out.

    Args:
        path: the file.
        key: where the state dict is, "ema" or "ema.module"; also a part of that from the left, if one lies below it.

    Returns:
        A new dict in the file's order. A safetensors file is sorted by name and keeps no order of layers: the names
        come sorted with numbers as numbers, "layer2" before "layer10".

    Raises:
        CheckpointError: the file is missing, damaged, a pickled module or of classes that are not plain values; it
            holds no state dict or, without `key`, several; `key` is none of them; or safetensors is not installed.

    Example:
        >>> import tempfile, torch
        >>> path = f"{tempfile.mkdtemp()}/last.pt"
        >>> torch.save({"epoch": 3, "model": torch.nn.PReLU(2).state_dict()}, path)
        >>> load_state_dict(path)
        {'weight': tensor([0.2500, 0.2500])}
    """
    return read_checkpoint(path, key).tensors


def read_checkpoint(path: str | PathLike[str], key: str | None = None) -> Checkpoint:
    """The same, with the key at which the state dict was found."""
    path = Path(path)
    content = read_file(path)
    found = dict(_state_dicts(content, ()))
    if not found:
        raise CheckpointError(f"'{path}' holds no state dict: {_outline(content)} and no mapping of names to tensors")
    chosen = found if key is None else _below(found, key)
    if not chosen:
        raise CheckpointError(f"'{path}' has no state dict at '{key}'; {nearest(key or '', found)}")
    if len(chosen) > 1:
        listing = ", ".join(f"'{name}' ({len(tensors)} tensors)" for name, tensors in chosen.items())
        raise CheckpointError(f"'{path}' holds several state dicts, {listing}: pick one with the key (--key)")
    return Checkpoint(*next(iter(chosen.items())))


def strip_prefixes(tensors: Mapping[str, Tensor], prefixes: Sequence[str] = ("module.",)) -> dict[str, Tensor]:
    """Rename a wrapped network's tensors to the names that they have without the wrapper.

    `_orig_mod` (torch.compile) and the wrappers of FSDP and activation checkpointing go wherever they stand in a
    name. The prefixes go where *every* name begins with them, however often. `n_averaged`, which AveragedModel adds
    beside its "module.", goes with them.

    Args:
        tensors: a state dict.
        prefixes: "module." is that of DataParallel, DistributedDataParallel and AveragedModel. Pass
            ``("module.", "model.")`` for the network inside a LightningModule that calls it `model`; this is no
            default, since a network may itself call its layers so.

    Raises:
        CheckpointError: two names would become one.

    Example:
        >>> import torch
        >>> list(strip_prefixes({"module._orig_mod.act.weight": torch.ones(1)}))
        ['act.weight']
    """
    renamed = {".".join(part for part in name.split(".") if part not in _WRAPPERS): t for name, t in tensors.items()}
    if len(renamed) < len(tensors):
        raise CheckpointError("a network and its compiled or wrapped copy are both in the state dict: keep one of them")
    while True:
        own = [name for name in renamed if name != _AVERAGED]
        prefix = next((p for p in prefixes if own and all(name.startswith(p) for name in own)), None)
        if prefix is None:
            return renamed
        renamed = {name.removeprefix(prefix): renamed[name] for name in own}


def _state_dicts(content: Any, path: tuple[str, ...]) -> Iterator[tuple[str, dict[str, Tensor]]]:
    if not isinstance(content, Mapping) or {"state", "param_groups"} <= content.keys():
        return
    named = {name: value for name, value in content.items() if isinstance(name, str)}
    tensors = {name: value for name, value in named.items() if isinstance(value, Tensor)}
    # A dimension: ModelCheckpoint's scores of the best files are tensors by name, too.
    if 2 * len(tensors) >= len(content) and any(t.ndim and t.is_floating_point() for t in tensors.values()):
        yield ".".join(path), tensors
    else:
        for name, value in named.items():
            yield from _state_dicts(value, (*path, name))


def _below(found: Mapping[str, dict[str, Tensor]], key: str) -> dict[str, dict[str, Tensor]]:
    if key in found:
        return {key: found[key]}
    return {name: tensors for name, tensors in found.items() if name.startswith(f"{key}.")}


def _outline(content: Any) -> str:
    if not isinstance(content, Mapping):
        return f"it is a {type(content).__name__}"
    keys = [str(key) for key in content]
    return f"its keys are {', '.join(keys[:8])}{', ...' if len(keys) > 8 else ''}" if keys else "it is empty"
