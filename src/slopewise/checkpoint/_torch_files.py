"""Files of `torch.save` in both of its formats, and plain pickles, as records whose tensors are read on demand."""

from __future__ import annotations

import io
import re
import struct
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import torch

from slopewise.checkpoint._formats import is_zip
from slopewise.checkpoint._pickle import Name, load

_MAGIC = 0x1950A86A20F9469CFC6C  # the first pickle of a file of torch.save before PyTorch 1.6
_CHUNK = 2**22  # bytes
_MOST_UNPACKED = 1100  # bytes that a byte of a zip archive may unpack to; deflate reaches 1032
_CONTENT = re.compile(r"(?:[^/]+/)?data\.pkl")
_STORAGES = {
    "DoubleStorage": torch.float64, "FloatStorage": torch.float32, "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16, "LongStorage": torch.int64, "IntStorage": torch.int32,
    "ShortStorage": torch.int16, "CharStorage": torch.int8, "ByteStorage": torch.uint8, "BoolStorage": torch.bool,
    "ComplexFloatStorage": torch.complex64, "ComplexDoubleStorage": torch.complex128, "UntypedStorage": torch.uint8,
    "QInt8Storage": torch.int8, "QUInt8Storage": torch.uint8, "QInt32Storage": torch.int32,
    "QUInt4x2Storage": torch.uint8, "QUInt2x4Storage": torch.uint8,
}  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Storage:
    """A storage in the file, which several tensors may share.

    Attributes:
        dtype: Dtype of its elements.
        count: Number of its elements.
        read: Function that returns its bytes.
        byteorder: Byte order of its elements, "little" or "big".
    """

    dtype: torch.dtype
    count: int
    read: Callable[[], bytearray]
    byteorder: str = "little"


def is_zip_of_torch(archive: zipfile.ZipFile) -> bool:
    """Return True if an archive is a file of `torch.save`, and not of `torch.jit.save`, which also has the code."""
    names = archive.namelist()
    return any(map(_CONTENT.fullmatch, names)) and not any(name.endswith("constants.pkl") for name in names)


@contextmanager
def open_torch(path: Path) -> Iterator[Any]:
    """Open a file of `torch.save` and yield its content, whose tensors can be read while the file is open.

    Raises:
        ValueError: The file is damaged. Other built-in errors are possible as well.
    """
    if is_zip(path):
        with zipfile.ZipFile(path) as archive:
            yield _unzipped(archive)
    else:
        with path.open("rb") as file:
            yield _in_a_row(file)


def storage_in(content: bytes) -> Storage:
    """Return a storage that plain `pickle` wrote as an embedded file of torch.save.

    Raises:
        ValueError: The content is not a storage.
    """
    storage = _in_a_row(io.BytesIO(content))
    if not isinstance(storage, Storage):
        raise ValueError("bytes of no storage")
    return storage


def _unzipped(archive: zipfile.ZipFile) -> Any:
    entries = {entry.filename: entry for entry in archive.infolist()}
    root = next(name for name in entries if _CONTENT.fullmatch(name)).removesuffix("data.pkl")
    for entry in entries.values():
        if entry.CRC == 0:  # torch.serialization.set_crc32_options(False): there is nothing to compare with
            del entry.CRC
    order = f"{root}byteorder"
    byteorder = archive.read(order).decode("ascii") if order in entries else "little"
    storages: dict[str, Storage] = {}

    def persistent(saved: Any) -> Storage:
        what, kind, key, _, count = saved
        if what != "storage":
            raise ValueError("a reference to no storage")

        def read() -> bytearray:
            entry, size = entries[f"{root}data/{key}"], count * storages[key].dtype.itemsize
            _check_size(size, min(entry.file_size, _MOST_UNPACKED * entry.compress_size))
            with archive.open(entry) as stored:
                return _filled(bytearray(size), stored)

        return storages.setdefault(key, Storage(_dtype(kind), count, read, byteorder))

    pickled = entries[f"{root}data.pkl"]
    _check_size(pickled.file_size, _MOST_UNPACKED * pickled.compress_size)
    return load(io.BytesIO(archive.read(pickled)), persistent)


def _in_a_row(file: IO[bytes]) -> Any:
    """Read the old format: several pickles in a row, then the bytes of the storages; or a single plain pickle."""
    first = load(file, _none)
    if first != _MAGIC:
        return first
    load(file, _none)  # the version, 1001 in all files
    load(file, _none)  # sizes of C types
    storages: dict[Any, Storage] = {}
    views: dict[Any, Storage] = {}
    offsets: dict[Any, int] = {}

    def persistent(saved: Any) -> Any:
        if saved[0] != "storage":
            return saved[1]  # a class with its source code
        _, kind, key, _, count, view = saved

        def read() -> bytearray:
            size = count * whole.dtype.itemsize
            _check_size(size, file.seek(0, io.SEEK_END) - offsets[key])
            file.seek(offsets[key])
            return _filled(bytearray(size), file)

        whole = storages.setdefault(key, Storage(_dtype(kind), count, read))
        return whole if view is None else views.setdefault(view[0], _part(whole, view[1], view[2]))

    content = load(file, persistent)
    for key in load(file, _none):
        (count,) = struct.unpack("<q", file.read(8))
        offsets[key] = file.tell()
        if count != storages[key].count:
            raise ValueError("a storage of another size than its tensors say")
        file.seek(count * storages[key].dtype.itemsize, 1)
    return content


def _part(storage: Storage, offset: int, count: int) -> Storage:
    """Return a view of a storage, as in files of PyTorch 0.2 and earlier."""
    itemsize = storage.dtype.itemsize

    def read() -> bytearray:
        return storage.read()[offset * itemsize : (offset + count) * itemsize]

    return Storage(storage.dtype, count, read)


def _filled(content: bytearray, file: IO[bytes]) -> bytearray:
    """Fill `content` with bytes of the file, in chunks, since zip files are read through a copy."""
    filled = 0
    while count := file.readinto(memoryview(content)[filled : filled + _CHUNK]):  # type: ignore[attr-defined]
        filled += count
    if filled < len(content):
        raise ValueError(f"a storage has {filled} bytes instead of {len(content)}")
    return content


def _check_size(declared: int, there: int) -> None:
    """Check that a file holds the bytes that it declares, before memory is taken for them.

    Raises:
        ValueError: It does not.
    """
    if not 0 <= declared <= there:
        raise ValueError(f"it declares {declared} bytes and holds at most {there} of them")


def _dtype(kind: Any) -> torch.dtype:
    if not isinstance(kind, Name) or kind.name not in _STORAGES:
        raise ValueError(f"an unknown storage, {kind}")
    return _STORAGES[kind.name]


def _none(_: Any) -> Any:
    raise ValueError("a reference to a storage where there is none")
