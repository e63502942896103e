"""Tensors among the records of a pickle, and their values, read on demand.

A record is recognised by the name of the function with which PyTorch or NumPy would rebuild it. Values are read only
for the tensors that are selected, so that a checkpoint's optimizer costs nothing.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from slopewise.checkpoint._pickle import Name, Record
from slopewise.checkpoint._torch_files import Storage, storage_in

_DTYPES = {name: value for name, value in vars(torch).items() if isinstance(value, torch.dtype)}
_NUMPY = {
    "f2": "float16", "f4": "float32", "f8": "float64", "i1": "int8", "i2": "int16", "i4": "int32", "i8": "int64",
    "u1": "uint8", "u2": "uint16", "u4": "uint32", "u8": "uint64", "b1": "bool", "c8": "complex64",
    "c16": "complex128",
}  # fmt: skip
SHARE = "one process's share of a DTensor"
_MODULES = {"torch._utils", "torch._tensor", "torch.tensor"}


@dataclass(frozen=True, slots=True)
class SavedTensor:
    """A tensor whose values are still in the file: a view of a storage, in elements of its dtype."""

    storage: Storage
    dtype: torch.dtype
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


_MOST_REPEATED = 2**26  # elements of a tensor that has several for one of its storage, as `expand` makes it


@dataclass(frozen=True, slots=True)
class Unread:
    """A tensor that cannot be read, with a description."""

    description: str


def described(value: Any) -> Tensor | SavedTensor | Unread | None:
    """Return the tensor that a value of a file describes, or None if it describes none.

    Raises:
        ValueError: The record of a tensor is damaged. Other built-in errors are possible as well.
    """
    if isinstance(value, Tensor | SavedTensor | Unread):
        return value
    if isinstance(value, Record) and isinstance(value.constructor, Name):
        if value.constructor.module.startswith("numpy"):
            return _array(value)
        if value.constructor.module in _MODULES and value.constructor.name in _REBUILD:
            return _REBUILD[value.constructor.name](value.args)
    return None


def read_tensors(saved: Mapping[str, Tensor | SavedTensor]) -> dict[str, Tensor]:
    """Read the tensors' values; tensors that share a storage in the file share it in memory."""
    storages: dict[Storage, Tensor] = {}

    def values(tensor: Tensor | SavedTensor) -> Tensor:
        if isinstance(tensor, Tensor):
            return tensor
        if 0 in tensor.size:
            return torch.empty(tensor.size, dtype=tensor.dtype)
        if tensor.storage not in storages:
            storages[tensor.storage] = _bytes(tensor.storage)
        return storages[tensor.storage].view(tensor.dtype).as_strided(tensor.size, tensor.stride, tensor.offset)

    return {name: values(tensor) for name, tensor in saved.items()}


def members(value: Any) -> list[Any]:
    """Return the items of a list, tuple or set, also if an old protocol wrote it as a call."""
    if isinstance(value, Record):
        return [*value.values, *(list(value.args[0]) if value.args and isinstance(value.args[0], list | tuple) else [])]
    return list(value) if isinstance(value, list | tuple | set | frozenset) else []


def _storage(value: Any) -> Storage:
    if isinstance(value, Record) and value.constructor == Name("torch.storage", "_load_from_bytes"):
        return storage_in(_raw(value.args[0]) or b"")
    if not isinstance(value, Storage):
        raise ValueError("a tensor without a storage")
    return value


def _bytes(storage: Storage) -> Tensor:
    data = torch.frombuffer(storage.read(), dtype=torch.uint8)
    if storage.byteorder != sys.byteorder:
        data.untyped_storage().byteswap(storage.dtype)
    return data


def _view(
    storage: Storage, dtype: torch.dtype, offset: int, size: Any, stride: Any, metadata: tuple[Any, ...]
) -> SavedTensor | Unread:
    if metadata and metadata[0]:
        return Unread("a lazily conjugated or negated tensor")
    size, stride = (tuple(_sizes(numbers)) for numbers in (size, stride))
    available = storage.count * storage.dtype.itemsize // dtype.itemsize
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if min((offset, *size, *stride)) < 0 or (0 not in size and last >= available):
        raise ValueError("a tensor reaches beyond its storage")
    if math.prod(size) > max(available, _MOST_REPEATED):
        raise ValueError(f"a tensor of {math.prod(size)} elements repeats the {available} elements of its storage")
    return SavedTensor(storage, dtype, offset, size, stride)


def _sizes(numbers: Any) -> list[int]:
    sizes = members(numbers)
    if not all(isinstance(number, int) for number in sizes):
        raise ValueError("a tensor's size is no number")
    return sizes


def _version_2(args: Any) -> SavedTensor | Unread:
    """Read (storage, offset, size, stride, requires_grad, hooks, metadata)."""
    storage = _storage(args[0])
    return _view(storage, storage.dtype, args[1], args[2], args[3], args[6:])


def _version_3(args: Any) -> SavedTensor | Unread:
    """Read (storage, offset, size, stride, requires_grad, hooks, dtype, metadata)."""
    return _view(_storage(args[0]), _DTYPES[args[6].name], args[1], args[2], args[3], args[7:])


def _subclass(args: Any) -> Tensor | SavedTensor | Unread | None:
    """Read (function, class, its arguments, state)."""
    rebuild, kind, inner, state = args
    if isinstance(kind, Name) and kind.name == "DTensor":
        return _local(inner, state)
    return described(Record(rebuild, inner))


def _local(args: Any, state: Any) -> Tensor | SavedTensor | Unread | None:
    """Return the local tensor of a DTensor if one process holds all of it."""
    parts = state if isinstance(state, tuple) else (state,)  # attributes, and those of slots
    attributes = {name: value for part in parts if isinstance(part, dict) for name, value in part.items()}
    local = described(attributes.get("_local_tensor"))
    whole = isinstance(local, SavedTensor) and local.size == tuple(_sizes(args[2]))
    return local if whole and not _partial(attributes.get("_spec")) else Unread(SHARE)


def _partial(spec: Any) -> bool:
    """Return True if the values of several processes are still to be summed, or if the placements are unknown."""
    state = spec.state if isinstance(spec, Record) else None
    placements = members(state.get("placements")) if isinstance(state, dict) else []
    kinds = [place.constructor for place in placements if isinstance(place, Record)]
    return not kinds or any(isinstance(kind, Name) and "Partial" in kind.name for kind in kinds)


_REBUILD: dict[str, Callable[[Any], Tensor | SavedTensor | Unread | None]] = {
    "_rebuild_tensor": _version_2,
    "_rebuild_tensor_v2": _version_2,
    "_rebuild_tensor_v3": _version_3,
    "_rebuild_parameter": lambda args: described(args[0]),
    "_rebuild_parameter_with_state": lambda args: described(args[0]),
    "_rebuild_device_tensor_from_numpy": lambda args: described(args[0]),
    "_rebuild_device_tensor_from_cpu_tensor": lambda args: described(args[0]),
    "_rebuild_xla_tensor": lambda args: described(args[0]),
    "_rebuild_from_type": _subclass,
    "_rebuild_from_type_v2": _subclass,
    "_rebuild_wrapper_subclass": lambda args: Unread(f"a {args[0]}"),
    "_rebuild_sparse_tensor": lambda _: Unread("a sparse tensor"),
    "_rebuild_sparse_csr_tensor": lambda _: Unread("a sparse tensor"),
    "_rebuild_qtensor": lambda _: Unread("a quantised tensor"),
    "_rebuild_nested_tensor": lambda _: Unread("a nested tensor"),
    "_rebuild_meta_tensor_no_storage": lambda _: Unread("a meta tensor, which has no values"),
}


def _array(value: Record) -> SavedTensor | Unread | None:
    """Read a NumPy array from the record of NumPy's own functions."""
    name = value.constructor.name
    if name == "_reconstruct" and isinstance(value.state, tuple) and len(value.state) == 5:
        _, shape, dtype, by_columns, content = value.state
    elif name == "_frombuffer":
        content, dtype, shape, order = value.args
        by_columns = order == "F"
    else:
        return None
    kind = _NUMPY.get(str(dtype.args[0])) if isinstance(dtype, Record) and dtype.args else None
    raw = _raw(content)
    if kind is None or raw is None:
        return Unread("a NumPy array of no numbers")
    state = dtype.state if isinstance(dtype.state, tuple) else ()
    byteorder = "big" if state[1:2] == (">",) else "little"
    size = tuple(_sizes(shape))
    # Strides are in elements: that of the last dimension is 1, or that of the first if the array is column-major.
    stride, step = [], 1
    for length in size if by_columns else reversed(size):
        stride.append(step)
        step *= length
    if not by_columns:
        stride.reverse()
    element_type = _DTYPES[kind]
    storage = Storage(element_type, len(raw) // element_type.itemsize, lambda: bytearray(raw), byteorder)
    return _view(storage, element_type, 0, size, tuple(stride), ())


def _raw(content: Any) -> bytes | None:
    """Return bytes, also if protocol 2 wrote them as text to be encoded; None for other content."""
    if isinstance(content, Record) and content.constructor == Name("_codecs", "encode"):
        content = content.args[0]
    if isinstance(content, str):
        return content.encode("latin-1")
    return bytes(content) if isinstance(content, bytes | bytearray) else None
