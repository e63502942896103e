"""Reading of checkpoint files: safetensors, torch.save, and the index files of model hubs."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from slopewise.checkpoint._formats import GIT_LFS, describe_folder, identify_file, is_zip
from slopewise.checkpoint._search import entries
from slopewise.checkpoint._torch_files import is_zip_of_torch, open_torch
from slopewise.errors import CheckpointError

_LARGEST_HEADER = 100_000_000  # bytes; safetensors' own limit
_START = 512  # bytes that identify a format
_PICKLE = b"\x80"


@dataclass(frozen=True)
class OpenFile:
    """Content of a file, whose tensors can be read while it is open.

    Attributes:
        content: Tensors, records of tensors, and the containers that hold them.
        ties: True if the file records which tensors share memory.
    """

    content: Any
    ties: bool


@contextmanager
def open_file(path: Path) -> Iterator[OpenFile]:
    """Open a checkpoint.

    Names in a safetensors file, and in most index files, are sorted as text; here they are sorted with numbers as
    numbers, "layer2" before "layer10".

    Raises:
        CheckpointError: The file is missing, damaged, or of another format.
    """
    start = _start(path)
    if path.name.endswith(".index.json") and not start.startswith(GIT_LFS):
        with ExitStack() as parts:
            yield OpenFile(_read_shards(path, parts), ties=False)
    elif _is_safetensors(start, path.stat().st_size):
        yield OpenFile(_in_natural_order(_read_safetensors(path)), ties=False)
    elif start.startswith(_PICKLE) or _is_zip_of_torch(path):
        with _telling_damage(path), open_torch(path) as content:
            yield OpenFile(content, ties=True)
    else:
        raise _unreadable_error(path, start)


def _start(path: Path) -> bytes:
    if path.is_dir():
        raise CheckpointError(f"'{path}' is {describe_folder(path)}")
    try:
        with path.open("rb") as file:
            return file.read(_START)
    except OSError as error:
        raise CheckpointError(f"cannot read the checkpoint '{path}': {error.strerror}") from error


def _is_safetensors(start: bytes, size: int) -> bool:
    """Return True for eight bytes of length, followed by a JSON object of that length."""
    return start[8:9] == b"{" and int.from_bytes(start[:8], "little") <= min(_LARGEST_HEADER, size - 8)


def _is_zip_of_torch(path: Path) -> bool:
    if not is_zip(path):
        return False
    with _telling_damage(path), zipfile.ZipFile(path) as archive:
        return is_zip_of_torch(archive)


@contextmanager
def _telling_damage(path: Path) -> Iterator[None]:
    try:
        yield
    except CheckpointError:
        raise
    except Exception as error:  # bytes that are no checkpoint can raise anything
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        message = f"'{path}' is damaged or was cut off ({reason}): fetch or save it again"
        raise CheckpointError(message) from error


def _unreadable_error(path: Path, start: bytes) -> CheckpointError:
    identified = identify_file(path, start)
    if identified is not None:
        return CheckpointError(f"'{path}' is {identified[0]}: {identified[1]}")
    if path.suffix == ".safetensors":
        return CheckpointError(f"'{path}' is no whole safetensors file: fetch or save it again")
    return CheckpointError(
        f"'{path}' is of no format that is known here: name a file of torch.save or safetensors, or fetch it again"
    )


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    """Return all tensors, including those that the metadata lists as aliases of others, as `save_model` writes it."""
    try:
        from safetensors import SafetensorError, safe_open
    except ModuleNotFoundError as error:
        raise CheckpointError(f"'{path}' needs '{error.name}': pip install 'slopewise[study]'") from error
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
            aliases = file.metadata() or {}
    except SafetensorError as error:
        raise CheckpointError(f"'{path}' is no whole safetensors file ({error}): fetch or save it again") from error
    return {alias: tensors[name] for alias, name in aliases.items() if name in tensors} | tensors


def _read_shards(index: Path, parts: ExitStack) -> dict[str, Any]:
    try:
        names = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        files = sorted(set(names.values()))
        outside = [file for file in files if Path(file).name != file]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"'{index}' is no index of a checkpoint: it has no `weight_map` of names") from error
    if outside:
        raise CheckpointError(f"'{index}' names '{outside[0]}', which is not a file beside it")
    tensors: dict[str, Any] = {}
    for file in files:
        content = parts.enter_context(open_file(index.parent / file)).content
        part = entries(content)
        if not part:
            raise CheckpointError(f"'{index.parent / file}' holds no tensors by name, as a part of '{index}' must")
        tensors |= part
    if missing := sorted(names.keys() - tensors.keys()):
        raise CheckpointError(f"'{index}' names {missing[0]}, which '{names[missing[0]]}' does not hold")
    return _in_natural_order({name: tensors[name] for name in names})


def _in_natural_order(tensors: Mapping[str, Any]) -> dict[str, Any]:
    def key(name: str) -> list[str | int]:  # text and numbers in turns
        return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]

    return dict(sorted(tensors.items(), key=lambda entry: key(entry[0])))
