"""Pixels of one picture, from its file or from Pillow: as a viewer shows it, without loss of information."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image, ImageFile
from torch import Tensor

from slopewise.errors import DataError

Depth = Literal["8 bits", "16 bits", "real"]
RESIZING = "bilinear"  # Pillow's filter, which averages over all pixels that become one

_GREY = ("1", "L", "LA", "La")
# Pillow runs Ghostscript for EPS, has no reader of its own for the next four, and reads the last without pixels.
_NOT_READ = ("EPS", "WMF", "BUFR", "GRIB", "HDF5", "MPEG", "IPTC")
_SURE_FORMATS = (
    "PNG",
    "JPEG",
    "GIF",
    "WEBP",
    "BMP",
    "TIFF",
    "JPEG2000",
    "AVIF",
    "PSD",
    "QOI",
)  # their first bytes say it
_TO_16_BITS = 257  # 255 * 257 = 65535
_SIDEWAYS = 5  # orientations from this on exchange height and width
_ORIENTATION = 274  # the only tag of EXIF that changes what is seen
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class PictureMode:
    """Form in which the pixels of a picture, or of a whole data set, are kept.

    Attributes:
        channels: 1 for grey, 3 for red, green and blue.
        depth: `8 bits` is kept as uint8, all else as float32: `16 bits` as 0 to 65535, `real` (floating point and
            integers of 32 bits) as it stands in the file.
    """

    channels: Literal[1, 3]
    depth: Depth

    @property
    def dtype(self) -> torch.dtype:
        """Number type of the pixels."""
        return torch.uint8 if self.depth == "8 bits" else torch.float32


def mode_of(image: Image.Image) -> PictureMode:
    """Return the mode that keeps all information of one picture; only its header is needed.

    Example:
        >>> mode_of(Image.new("LA", (8, 8))), mode_of(Image.new("I;16", (8, 8))).depth
        (PictureMode(channels=1, depth='8 bits'), '16 bits')
    """
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        return PictureMode(1, "16 bits")  # before Pillow 11, PNG and PPM of 16 bits open as "I"
    if image.mode in ("I", "F"):
        return PictureMode(1, "real")
    return PictureMode(1 if image.mode in _GREY else 3, "8 bits")


def common_mode(modes: Iterable[PictureMode]) -> PictureMode | None:
    """Return the mode that keeps all information of every picture: colour and 16 bits if any has them.

    Returns:
        The mode; None if there is none, because real numbers have no scale in common with 8 or 16 bits.
    """
    modes = set(modes) or {PictureMode(1, "8 bits")}
    depths = {mode.depth for mode in modes}
    if "real" in depths and len(depths) > 1:
        return None
    return PictureMode(
        3 if any(mode.channels == 3 for mode in modes) else 1, max(depths, key=("8 bits", "16 bits", "real").index)
    )


def to_pixels(image: Image.Image, mode: PictureMode, *, size: tuple[int, int] | None = None) -> Tensor:
    """Return the pixels (C, H, W) of one picture, turned by its EXIF orientation, on white, resized if `size` is set.

    Raises:
        ValueError: The pixels hold NaN or infinity.

    Example:
        >>> to_pixels(Image.new("RGBA", (4, 2), (255, 0, 0, 0)), PictureMode(3, "8 bits")).shape
        torch.Size([3, 2, 4])
    """
    if size is not None:
        _draft(image, size)
    image.load()
    own = mode_of(image)
    plain = _grey_or_colour(image, mode.channels) if own.depth == "8 bits" else _real(image)
    plain = _turned_as(plain, image)
    if size is not None:
        plain = plain.resize(size[::-1], Image.Resampling[RESIZING.upper()])
    pixels = torch.from_numpy(np.array(plain)).reshape(plain.height, plain.width, -1).permute(2, 0, 1)
    if mode.depth == "16 bits" and own.depth == "8 bits":
        pixels = pixels.to(torch.float32) * _TO_16_BITS
    return pixels.expand(mode.channels, -1, -1)


def turned(image: Image.Image) -> Image.Image:
    """Return a picture turned by its EXIF orientation."""
    return _turned_as(image, image)


def _turned_as(plain: Image.Image, image: Image.Image) -> Image.Image:
    turn = _TURNS.get(_orientation(image))
    return plain if turn is None else plain.transpose(turn)


def is_turned(image: Image.Image) -> bool:
    """Return True if a picture is turned by its EXIF orientation."""
    return _orientation(image) in _TURNS


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Return the height and width of a picture after it is turned by its EXIF orientation."""
    width, height = image.size
    return (width, height) if _orientation(image) >= _SIDEWAYS else (height, width)


def has_transparency(image: Image.Image) -> bool:
    """Return True if pixels of a picture can be transparent."""
    # Pillow has this as a property, but only since 10.1.
    palette = image.palette.mode if image.mode == "P" and image.palette else ""
    return image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info or palette.endswith("A")


def is_picture(path: Path) -> bool:
    """Return True if Pillow reads files of this suffix or, for a suffix unknown to it, if it can open the file."""
    suffix = path.suffix.lower()
    if suffix in _suffixes():
        return _suffixes()[suffix] in (*_formats(), "MPO")
    try:
        with warnings.catch_warnings():  # Pillow warns of what it finds on the way to "no picture"
            warnings.simplefilter("ignore")
            with opened(path, _SURE_FORMATS):
                return True
    except DataError:
        return False


@cache
def _suffixes() -> dict[str, str]:
    return Image.registered_extensions()


@cache
def _formats(among: tuple[str, ...] = ()) -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in Image.ID if name not in _NOT_READ and (not among or name in among))


@contextmanager
def opened(path: Path, among: tuple[str, ...] = ()) -> Iterator[Image.Image]:
    """Open the picture of a file inside the block, and turn any error into a `DataError` that names the file."""
    try:
        with Image.open(path, formats=_formats(among)) as image:
            _check_pixels(image)
            yield image
    except Exception as error:  # Pillow's readers raise nearly anything on a damaged file
        words = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"data.path: cannot decode '{path}' ({words}): mend, convert or remove it") from error


def _check_pixels(image: Image.Image) -> None:
    """Check the declared size of a picture before its pixels are unpacked; Pillow itself refuses only twice as many.

    Raises:
        ValueError: It has more pixels than Pillow's bound.
    """
    pixels, most = image.width * image.height, Image.MAX_IMAGE_PIXELS
    if most is not None and pixels > most:
        raise ValueError(f"{pixels:,} pixels, more than the {most:,} of PIL.Image.MAX_IMAGE_PIXELS")


def _draft(image: Image.Image, size: tuple[int, int]) -> None:
    """Set a JPEG to be decoded at 1/2, 1/4 or 1/8 of its size, if that is at least twice the wanted size.

    The decoder then leaves out frequencies that resizing would average away, and takes a third of the time.
    """
    if image.format in ("JPEG", "MPO"):
        height, width = reversed(size) if _orientation(image) >= _SIDEWAYS else size
        image.draft(None, (2 * width, 2 * height))


def _grey_or_colour(image: Image.Image, channels: int) -> Image.Image:
    if image.mode == "LAB":
        image = _from_lab(image)
    elif has_transparency(image):
        if image.mode == "La":
            image = image.convert("LA")
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB" if channels == 3 else "L")


def _from_lab(image: Image.Image) -> Image.Image:
    from PIL import ImageCms

    lab, rgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    return ImageCms.buildTransform(lab, rgb, "LAB", "RGB").apply(image)


def _real(image: Image.Image) -> Image.Image:
    numbers = np.asarray(image).astype(np.float32)
    if bad := int((~np.isfinite(numbers)).sum()):
        raise ValueError(f"{bad} of its {numbers.size} pixels are NaN or infinite")
    return Image.fromarray(numbers)


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, from 1 to 8; 1, which is upright, if none can be read."""
    if not isinstance(image, ImageFile.ImageFile):  # an image that was worked on lies as its owner left it
        return 1
    if image.format == "TIFF":  # turned by load(); Pillow 10 leaves the tag in place all the same
        return 1
    try:
        orientation = image.getexif().get(_ORIENTATION)
    except Exception:  # any of its entries may be broken: only this one is needed
        orientation = None
    if orientation is None:  # also where the header is doubled, for Pillow 10
        orientation = _orientation_in(image.info.get("exif"))
    return orientation if isinstance(orientation, int) else 1


def _orientation_in(block: object) -> int | None:
    """Return the orientation in a block of EXIF, even if its other entries are broken; None if there is none."""
    if not isinstance(block, bytes):
        return None
    while block.startswith(b"Exif\0\0"):
        block = block[6:]
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None or len(block) < 10:
        return None
    start = struct.unpack_from(f"{order}I", block, 4)[0]
    if start + 2 > len(block):
        return None
    count = struct.unpack_from(f"{order}H", block, start)[0]
    for entry in range(start + 2, min(start + 2 + 12 * count, len(block) - 11), 12):
        tag, kind, length, value = struct.unpack_from(f"{order}HHIH", block, entry)
        if (tag, kind, length) == (_ORIENTATION, 3, 1):
            return int(value)
    return None
