"""Pictures of every kind that Pillow opens: read as a viewer shows them, with all that they hold."""

import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from slopewise.errors import DataError
from slopewise.study import DataSpec
from slopewise.study.data import ImageData, read_data
from slopewise.study.data._picture import PictureMode, common_mode, is_picture, mode_of, opened, to_pixels

COLOUR, GREY = PictureMode(3, "8 bits"), PictureMode(1, "8 bits")


def read_picture(path: Path, *, size: tuple[int, int], mode: PictureMode) -> torch.Tensor:
    with opened(path) as image:
        return to_pixels(image, mode, size=size)


def noise(seed: int = 0, *shape: int, top: int = 256) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, top, shape or (8, 12, 3))


def colour(seed: int = 0) -> Image.Image:
    return Image.fromarray(noise(seed).astype(np.uint8))


def exif(order: str, *entries: tuple[int, int, int, bytes]) -> bytes:
    """A block of EXIF, of entries (tag, type, count, four bytes)."""
    mark = {"<": b"II*\0", ">": b"MM\0*"}[order]
    packed = b"".join(struct.pack(f"{order}HHI", *entry[:3]) + entry[3] for entry in entries)
    return b"Exif\0\0" + mark + struct.pack(f"{order}IH", 8, len(entries)) + packed + b"\0\0\0\0"


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("orientation", "turn"), [(6, -1), (3, 2), (8, 1), (1, 0), (9, 0)])
@pytest.mark.parametrize("broken", [None, (282, 5, 1, b"\xff\xff\xff\xff"), (305, 2, 99, b"\xff\xff\0\0")])
@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, of what is broken
def test_the_orientation_is_read_whatever_else_is_broken(
    tmp_path: Path, order: str, orientation: int, turn: int, broken: Any
) -> None:
    entries = [(274, 3, 1, struct.pack(f"{order}HH", orientation, 0)), *([broken] if broken else [])]
    colour().save(tmp_path / "a.jpg", exif=exif(order, *entries), quality=95)
    with Image.open(tmp_path / "a.jpg") as image:
        as_stored = np.asarray(image)
    height, width = (12, 8) if turn % 2 else (8, 12)
    pixels = read_picture(tmp_path / "a.jpg", size=(height, width), mode=COLOUR)
    assert np.array_equal(pixels.permute(1, 2, 0).numpy(), np.rot90(as_stored, turn))


@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
def test_a_tiff_is_turned_once(tmp_path: Path, compression: str | None) -> None:
    block = Image.Exif()
    block[274] = 3
    colour().save(tmp_path / "a.tif", exif=block, compression=compression)
    pixels = read_picture(tmp_path / "a.tif", size=(8, 12), mode=COLOUR)
    assert np.array_equal(pixels.permute(1, 2, 0).numpy(), np.rot90(noise(), 2))


def test_an_image_that_was_worked_on_is_not_turned_again(tmp_path: Path) -> None:
    colour().save(tmp_path / "a.png", exif=exif("<", (274, 3, 1, b"\x03\0\0\0")))
    with Image.open(tmp_path / "a.png") as image:
        righted = image.transpose(Image.Transpose.ROTATE_180)
        assert righted.getexif()[274] == 3
    assert np.array_equal(to_pixels(righted, COLOUR).permute(1, 2, 0).numpy(), np.rot90(noise(), 2))


@pytest.mark.parametrize("mode", ["RGBX", "RGBa", "YCbCr", "HSV", "CMYK", "LAB", "PA", "P", "La", "1", "L"])
def test_every_mode_shows_the_same_picture(mode: str) -> None:
    grey = mode in ("PA", "P", "La", "1", "L")
    source = Image.linear_gradient("L").resize((16, 16)) if grey else Image.new("RGB", (16, 16), (200, 30, 90))
    expected = to_pixels(source, COLOUR).float()
    if mode == "LAB":
        from PIL import ImageCms

        profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        picture = ImageCms.buildTransform(*profiles, "RGB", "LAB").apply(source)
    else:
        picture = source.convert("LA").convert("La") if mode == "La" else source.convert(mode)
    pixels = to_pixels(picture, PictureMode(3, mode_of(picture).depth)).float()
    assert (pixels.mean() - expected.mean()).abs() < 5  # dithering of mode 1 keeps the mean
    assert mode == "1" or (pixels - expected).abs().max() < 8


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_transparency_lies_on_white(mode: str) -> None:
    clear = Image.new(mode, (4, 4), (10, 10, 10, 0) if mode == "RGBA" else (10, 0))
    assert (to_pixels(clear, COLOUR) == 255).all()


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_sixteen_bits_keep_every_level(tmp_path: Path, suffix: str) -> None:
    levels = noise(0, 8, 8, top=5000).astype(np.uint16)
    Image.fromarray(levels).save(tmp_path / f"a.{suffix}")
    with Image.open(tmp_path / f"a.{suffix}") as image:
        mode = mode_of(image)
    assert mode == PictureMode(1, "16 bits")
    assert np.array_equal(read_picture(tmp_path / f"a.{suffix}", size=(8, 8), mode=mode)[0].numpy(), levels)


def test_signed_and_floating_numbers_are_kept_as_they_are() -> None:
    for numbers in (noise(0, 4, 4).astype(np.int32) - 100_000, noise(0, 4, 4).astype(np.float32) / 7 - 3):
        image = Image.fromarray(numbers)
        assert np.array_equal(to_pixels(image, mode_of(image))[0].numpy(), numbers.astype(np.float32))


def test_the_common_mode_keeps_all_of_every_picture() -> None:
    deep, real = PictureMode(1, "16 bits"), PictureMode(1, "real")
    assert common_mode([GREY, COLOUR, GREY]) == COLOUR
    assert common_mode([deep, COLOUR]) == PictureMode(3, "16 bits")
    assert common_mode([deep, real]) is None
    white = to_pixels(Image.new("L", (2, 2), 255), PictureMode(3, "16 bits"))
    assert torch.equal(white, torch.full((3, 2, 2), 65535.0))


# Whole folders


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., ImageData]:
    def folder(suffix: str, *, extra: dict[str, Image.Image | bytes] | None = None, **save: Any) -> ImageData:
        for label, name in enumerate("ab"):
            (tmp_path / name).mkdir()
            for i in range(5):
                colour(10 * label + i).save(tmp_path / name / f"{i}.{suffix}", **save)
        for name, what in (extra or {}).items():
            what.save(tmp_path / name) if isinstance(what, Image.Image) else (tmp_path / name).write_bytes(what)
        return read_data(DataSpec(source="folder", path=str(tmp_path), image_size=(8, 12)))

    return folder


@pytest.mark.parametrize("suffix", ["tga", "jp2", "pcx", "sgi", "avif", "ico", "dds", "jpe", "qoi", "apng"])
def test_formats_that_pillow_reads_are_read(folder: Callable[..., ImageData], suffix: str) -> None:
    if suffix == "avif" and not pytest.importorskip("PIL.features").check("avif"):
        pytest.skip("this Pillow has no AVIF")
    data = folder(suffix)
    assert len(data.train_targets) + len(data.test_targets) == 10
    assert data.notes == ()


@pytest.mark.parametrize(("ground", "hint"), [((0, 0, 0, 0), True), ((0, 0, 99, 255), False)])
def test_white_on_transparent_is_explained(
    folder: Callable[..., ImageData], ground: tuple[int, int, int, int], hint: bool
) -> None:
    icons = {f"a/icon{i}.png": Image.new("RGBA", (8, 12), ground) for i in range(2)}
    notes = folder("png", extra=dict(icons)).notes
    assert any("images are constant" in note for note in notes)
    assert any("white shapes are not seen" in note for note in notes) is hint


@pytest.mark.parametrize("suffix", ["gif", "webp", "tif", "png"])
def test_the_first_of_several_frames_is_read_with_a_note(folder: Callable[..., ImageData], suffix: str) -> None:
    data = folder(suffix, save_all=True, append_images=[colour(99)])
    assert "10 of 10 pictures have several frames or pages: the first of each is read" in data.notes


def png_of_16_bits(channels: int) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = b"".join(b"\0" + noise(row, 8 * channels, top=65536).astype(">u2").tobytes() for row in range(8))
    header = struct.pack(">IIBBBBB", 8, 8, 16, {1: 0, 3: 2}[channels], 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_colour_of_16_bits_is_cut_with_a_note(folder: Callable[..., ImageData]) -> None:
    data = folder("png", extra={"a/deep.png": png_of_16_bits(3), "b/deep.ppm": b"P6 2 2 65535\n" + bytes(range(24))})
    assert any(note.startswith("2 of 12 pictures have colour of 16 bits, of which Pillow reads") for note in data.notes)


def test_a_mixture_of_8_and_16_bits_gets_a_note(folder: Callable[..., ImageData]) -> None:
    data = folder("png", extra={"a/deep.png": png_of_16_bits(1)})
    assert data.notes == ("there are pictures 1 of 16 bits and 10 of 8 bits: full scale of the one is taken for full "
                          "scale of the other",)  # fmt: skip
    assert data.facts()["reading"] == "11 PNG pictures of 8 x 8 to 8 x 12, in 16 bits colour, 1 of them grey"


def test_real_numbers_and_levels_do_not_go_together(folder: Callable[..., ImageData]) -> None:
    with pytest.raises(DataError, match=r"real\.tif' holds real numbers .* has levels of 8 or 16 bits"):
        folder("png", extra={"b/real.tif": Image.fromarray(np.zeros((4, 4), np.float32))})


@pytest.mark.parametrize(
    ("name", "content"),
    [("empty.png", b""), ("page.jpg", b"<html>not found</html>"), ("cut.webp", b"RIFF\x99\0\0\0WEBP")],
)
def test_files_that_cannot_be_decoded_are_named(folder: Callable[..., ImageData], name: str, content: bytes) -> None:
    with pytest.raises(DataError, match=f"cannot decode '.*{name}'.*mend, convert or remove it"):
        folder("png", extra={f"a/{name}": content})


def test_pictures_with_a_wrong_suffix_are_read_by_what_they_hold(folder: Callable[..., ImageData]) -> None:
    data = folder("jpg", format="PNG")
    assert data.facts()["reading"].startswith("10 PNG pictures")


def test_looking_for_pictures_says_nothing_of_other_files(tmp_path: Path) -> None:
    file = tmp_path / "scan"  # begins like a TIFF, and ends in its directory
    file.write_bytes(b"II*\0\x08\0\0\0\x02\0" + bytes(6))
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        assert not is_picture(file)
    assert not warned


def test_nan_in_a_picture_names_the_file(tmp_path: Path) -> None:
    numbers = np.zeros((4, 4), np.float32)
    numbers[1, 2] = np.nan
    Image.fromarray(numbers).save(tmp_path / "hole.tif")
    with pytest.raises(DataError, match=r"hole\.tif' \(1 of its 16 pixels are NaN or infinite\)"):
        read_picture(tmp_path / "hole.tif", size=(2, 2), mode=PictureMode(1, "real"))
