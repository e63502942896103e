"""From a file to what was saved in it: safetensors, torch.save, and the index files of model hubs."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

import torch

from slopewise.errors import SlopewiseError

_GIT_LFS = b"version https://git-lfs"
_LARGEST_HEADER = 100_000_000  # bytes; safetensors' own limit
_UNSUPPORTED = re.compile(r"(?:Unsupported|unsupported) (?:global: GLOBAL|class) (\S+)")


class CheckpointError(SlopewiseError):
    """The checkpoint cannot be read, or it is not clear what in it is meant."""


def read_file(path: Path) -> Any:
    """Whatever was saved in a file, with tensors on the CPU.

    Names in a safetensors file, and mostly in an index, are sorted as text; they come in the order of people here,
    "layer2" before "layer10".
    """
    start = _start(path)
    if start.startswith(_GIT_LFS):
        raise CheckpointError(f"'{path}' is a Git LFS pointer, not the checkpoint itself: run `git lfs pull` there")
    if path.name.endswith(".index.json"):
        return _read_shards(path)
    if path.suffix == ".safetensors" or _is_safetensors(start, path.stat().st_size):
        return _in_natural_order(_read_safetensors(path))
    return _read_torch(path)


def _start(path: Path) -> bytes:
    if path.is_dir():
        raise CheckpointError(f"'{path}' is a folder: name the checkpoint in it, or its .index.json if it has parts")
    try:
        with path.open("rb") as file:
            return file.read(64)
    except OSError as error:
        raise CheckpointError(f"cannot read the checkpoint '{path}': {error.strerror}") from error


def _is_safetensors(start: bytes, size: int) -> bool:
    """Eight bytes of length, then a JSON object of that length."""
    return start[8:9] == b"{" and int.from_bytes(start[:8], "little") <= min(_LARGEST_HEADER, size - 8)


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ModuleNotFoundError as error:
        raise CheckpointError(f"'{path}' needs '{error.name}': pip install 'slopewise[study]'") from error
    try:
        return load_file(path, device="cpu")
    except SafetensorError as error:
        raise CheckpointError(f"'{path}' is no whole safetensors file ({error}): fetch or save it again") from error


def _read_torch(path: Path) -> Any:
    with torch.serialization.safe_globals(_plain_values()):
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # an unpickler fed with anything but a checkpoint raises anything
            raise CheckpointError(_why_not(path, error)) from error


def _plain_values() -> list[Any]:
    """What training scripts put beside the tensors and that can do nothing but hold values.

    Their arguments (timm's and torchvision's are a Namespace), paths, and NumPy's numbers, as a best accuracy often
    is. Pairs give the name in the file: Python and NumPy have moved some, and a WindowsPath exists on Windows alone.
    """
    paths = [f"{module}.{kind}Path" for module in ("pathlib", "pathlib._local") for kind in ("Posix", "Windows")]
    plain: list[Any] = [argparse.Namespace, *((PurePath, name) for name in paths)]
    try:
        import numpy as np
    except ModuleNotFoundError:  # then the error names NumPy's type
        return plain
    scalar = np.float64(0).__reduce__()[0]
    names = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")
    kinds = {type(np.dtype(kind)) for kind in ("?", "i4", "i8", "f2", "f4", "f8")}
    return [*plain, np.dtype, *kinds, *((scalar, name) for name in names)]


def _why_not(path: Path, error: Exception) -> str:
    found = _foreign_classes(path, error)
    if any(name.startswith("torch.nn.modules.") for name in found):
        return (
            f"'{path}' holds a whole pickled module, which cannot be read without running its code: where that code "
            f"is, save its tensors alone, torch.save(model.state_dict(), ...)"
        )
    if "TorchScript" in str(error):
        return f"'{path}' is a TorchScript archive: save torch.jit.load(...).state_dict() and inspect that"
    if found:
        return (
            f"'{path}' holds objects of {', '.join(found)}, which are not read since that could run code: save the "
            f"tensors alone, torch.save(model.state_dict(), ...), or allow a class that you trust with "
            f"torch.serialization.add_safe_globals"
        )
    reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    short = reason.split(". ")[0] if not reason.startswith("Weights only") else "not written by torch.save"
    return f"'{path}' is no checkpoint that torch.load or safetensors reads ({short}): fetch or save it again"


def _foreign_classes(path: Path, error: Exception) -> list[str]:
    """The classes that a pickle asks for and plain tensors don't need; only the first for files before PyTorch 1.6."""
    named = _UNSUPPORTED.findall(str(error))
    if not named:
        return []
    try:
        return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    except ValueError:
        return named


def _read_shards(index: Path) -> dict[str, torch.Tensor]:
    try:
        names = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        files = sorted(set(names.values()))
        outside = [file for file in files if Path(file).name != file]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"'{index}' is no index of a checkpoint: it has no `weight_map` of names") from error
    if outside:
        raise CheckpointError(f"'{index}' names '{outside[0]}', which is not a file beside it")
    tensors: dict[str, torch.Tensor] = {}
    for file in files:
        part = read_file(index.parent / file)
        if not isinstance(part, Mapping):
            raise CheckpointError(f"'{index.parent / file}' holds no tensors by name, as a part of '{index}' must")
        tensors |= part
    if missing := sorted(names.keys() - tensors.keys()):
        raise CheckpointError(f"'{index}' names {missing[0]}, which '{names[missing[0]]}' does not hold")
    return _in_natural_order({name: tensors[name] for name in names})


def _in_natural_order(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    def key(name: str) -> list[str | int]:  # text and numbers in turns
        return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]

    return dict(sorted(tensors.items(), key=lambda entry: key(entry[0])))
