"""Reading of a checkpoint's state dict, selected by its key if there are several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

from slopewise.checkpoint._files import open_file
from slopewise.checkpoint._names import StateDict
from slopewise.checkpoint._search import StateDictInFile, entries, state_dicts
from slopewise.checkpoint._tensors import SHARE, described, read_tensors
from slopewise.errors import CheckpointError, nearest

_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A state dict and its location in the file.

    Attributes:
        key: Keys that lead to it, joined with dots, as in "state_dict"; empty if it is the file's only content.
        tensors: Tensors by name, in the file's order, on the CPU. Those that share memory in the file share it here.
        left_out: Descriptions of tensors of a kind that is not read (sparse, quantised, one process's share), by name.
        ties: True if the file records which tensors share memory. Safetensors files do not.
    """

    key: str
    tensors: StateDict
    left_out: Mapping[str, str] = field(default_factory=dict)
    ties: bool = True


def load_state_dict(path: str | PathLike[str], key: str | None = None) -> StateDict:
    """Return the tensors of a checkpoint by name, on the CPU, without running any code of the file.

    Supported are files of `torch.save` and of safetensors, and the index of a checkpoint in parts
    (`*.safetensors.index.json`, `pytorch_model.bin.index.json`). The format is detected from the content. Objects of
    other classes, and whole pickled modules, are read as inert records: no class is imported and no function is called.

    The state dict may be the whole file or be nested under keys, as in ``{"state_dict": ..., "optimizer": ...}``. It is
    a mapping in which tensors have the names of parameters. Optimizers (mappings with `state` and `param_groups`) are
    not searched. If there are several, such as the network and its moving average, `key` must select one. Entries that
    are not tensors are left out.

    Args:
        path: File to read.
        key: Keys that lead to the state dict, joined with dots, such as "ema", "ema.module" or, in a list, "0". The
            first of these keys are enough if only one state dict is below them.

    Returns:
        A new dict in the file's order, with the `_metadata` of the file, if it has any. A safetensors file does not
        keep the order of layers: its names are sorted, with numbers as numbers, "layer2" before "layer10". A tensor
        with several names (in the file, or in the metadata of safetensors) is one tensor here.

    Raises:
        CheckpointError: The file is missing, damaged or of another format; it holds no state dict or, without `key`,
            several; `key` matches none or several of them; or safetensors is not installed.

    Example:
        >>> import tempfile, torch
        >>> path = f"{tempfile.mkdtemp()}/last.pt"
        >>> torch.save({"epoch": 3, "model": torch.nn.PReLU(2).state_dict()}, path)
        >>> load_state_dict(path)
        {'weight': tensor([0.2500, 0.2500])}
    """
    return read_checkpoint(path, key).tensors


def read_checkpoint(path: str | PathLike[str], key: str | None = None, *, option: str = "key") -> Checkpoint:
    """Read a state dict as `load_state_dict` does, and return it with its key and the entries that were left out.

    Args:
        path: File to read.
        key: Keys that lead to the state dict.
        option: Name of the option by which the user gives the key, for the error about several state dicts.
    """
    path = Path(path)
    with open_file(path) as file:
        state_dicts_by_key = {".".join(state_dict.path): state_dict for state_dict in state_dicts(file.content)}
        if not state_dicts_by_key:
            outline = _outline(file.content)
            raise CheckpointError(f"'{path}' holds no state dict: {outline} and no mapping of names to tensors")
        chosen = _best(state_dicts_by_key) if key is None else _below(state_dicts_by_key, key)
        if not chosen:
            raise CheckpointError(f"'{path}' has no state dict at '{key}'; {nearest(key or '', state_dicts_by_key)}")
        if len(chosen) > 1:
            shown = [f"'{name}' ({len(state_dict.tensors)} tensors)" for name, state_dict in chosen.items()]
            raise CheckpointError(
                f"'{path}' holds several state dicts, {_some(shown)}: pick one with {option}, as {option}="
                f"{next(iter(chosen))}"
            )
        location, state_dict = next(iter(chosen.items()))
        _check_whole(path, state_dict)
        return Checkpoint(
            location, StateDict(read_tensors(state_dict.tensors), state_dict.metadata), state_dict.unread, file.ties
        )


def _check_whole(path: Path, state_dict: StateDictInFile) -> None:
    shares = [name for name, description in state_dict.unread.items() if description == SHARE]
    if shares:
        raise CheckpointError(
            f"'{path}' holds one process's share of {len(shares)} tensors, such as {shares[0]}: save the whole state "
            "dict, of torch.distributed.checkpoint.state_dict.get_model_state_dict with full_state_dict=True"
        )
    if not state_dict.tensors:
        name, description = next(iter(state_dict.unread.items()))
        raise CheckpointError(f"'{path}' holds no tensor with values: {name} is {description}")


def _best(candidates: Mapping[str, StateDictInFile]) -> dict[str, StateDictInFile]:
    highest = max(candidate.rank for candidate in candidates.values())
    return {name: candidate for name, candidate in candidates.items() if candidate.rank == highest}


def _below(candidates: Mapping[str, StateDictInFile], key: str) -> dict[str, StateDictInFile]:
    if key in candidates:
        return {key: candidates[key]}
    return _best_or_none({name: candidate for name, candidate in candidates.items() if name.startswith(f"{key}.")})


def _best_or_none(candidates: Mapping[str, StateDictInFile]) -> dict[str, StateDictInFile]:
    return _best(candidates) if candidates else {}


def _outline(content: Any) -> str:
    items = entries(content)
    if not items and isinstance(content, dict):
        return "it is empty"
    if described(content) is not None:
        return "it is a tensor without a name"
    if isinstance(content, list | tuple) or not items:
        return f"it is a {getattr(content, 'constructor', type(content).__name__)}"
    return f"its keys are {_some([str(key) for key in items])}"


def _some(items: Sequence[str]) -> str:
    return ", ".join(items[:_SHOWN]) + (", ..." if len(items) > _SHOWN else "")
