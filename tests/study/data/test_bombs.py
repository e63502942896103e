"""Images and archives that declare more than fits: refused by their headers, before anything is unpacked."""

import io
import struct
import warnings
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from slopewise.errors import DataError
from slopewise.study import DataSpec
from slopewise.study.data import _npz as npz
from slopewise.study.data import read_data

PIXELS = np.random.default_rng(0).integers(0, 256, (12, 8, 8)).astype(np.uint8)
LABELS = np.arange(12) % 2
ARRAYS = {"x_train": PIXELS[:8], "y_train": LABELS[:8], "x_test": PIXELS[8:], "y_test": LABELS[8:]}


def archive(path: Path) -> DataSpec:
    np.savez_compressed(path, **ARRAYS)
    return DataSpec(source="npz", path=str(path))


def test_arrays_beyond_the_machines_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = archive(tmp_path / "x.npz")
    monkeypatch.setattr(npz, "memory", lambda: 1000)
    with pytest.raises(
        DataError, match=r"x.npz' declares arrays of 0.0 GiB in a file of 0.0 MiB, and this machine has"
    ):
        read_data(spec)
    monkeypatch.setattr(npz, "memory", lambda: 20_000)
    assert read_data(spec).train_images.shape[-1] == 8


def test_an_array_whose_header_declares_more_than_is_there(tmp_path: Path) -> None:
    spec = archive(tmp_path / "x.npz")
    with zipfile.ZipFile(tmp_path / "x.npz") as stored:
        members = {name: stored.read(name) for name in stored.namelist()}
    members["x_train.npy"] = np_header(members["x_train.npy"], (10**12, 8, 8))
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as stored:
        for name, content in members.items():
            stored.writestr(name, content)
    with pytest.raises(DataError, match=r"array x_train of '.*' cannot be read|cannot read '.*' as an .npz file"):
        read_data(spec)


def np_header(content: bytes, shape: tuple[int, ...]) -> bytes:
    """Return an array's file with another shape in its header."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"shape": shape, "fortran_order": False, "descr": "|u1"})
    return file.getvalue() + content[-512:]


def test_a_member_that_cannot_be_unpacked(tmp_path: Path) -> None:
    """Python's readers of archives let the errors of zlib through."""
    spec = archive(tmp_path / "x.npz")
    content = bytearray((tmp_path / "x.npz").read_bytes())
    start = content.index(b"x_train.npy") + len("x_train.npy") + 20
    content[start : start + 8] = b"\xff" * 8
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"x.npz"):
        read_data(spec)


def png(width: int, height: int) -> bytes:
    """Return a small file that declares a large picture."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    )


def folder(root: Path, first: bytes) -> DataSpec:
    for name in ("a", "b"):
        (root / name).mkdir()
        for number in range(3):
            Image.new("L", (8, 8), 40 * number).save(root / name / f"{number}.png")
    (root / "a" / "0.png").write_bytes(first)
    return DataSpec(source="folder", path=str(root), image_size=8)


@pytest.mark.parametrize("size", [(12_000, 10_000), (10**6, 10**6)])
def test_a_picture_that_declares_too_many_pixels(tmp_path: Path, size: tuple[int, int]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        with pytest.raises(DataError, match=r"0.png' \(.*pixels.*: mend, convert or remove it"):
            read_data(folder(tmp_path, png(*size)))


def test_the_bound_is_pillows_own_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.BytesIO()
    Image.new("L", (30, 40)).save(file, "PNG")
    spec = folder(tmp_path, file.getvalue())
    assert read_data(spec).train_images.shape[-1] == 8
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        with pytest.raises(DataError, match=r"1,200 pixels, more than the 1,000 of PIL.Image.MAX_IMAGE_PIXELS"):
            read_data(spec)
