"""Headers of pictures: the mode in which they will be read, and the parts that will not be read."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from slopewise.study.data._picture import PictureMode, mode_of, opened

_NO_FRAMES = ("MPO", "PSD", "IM", "SPIDER", "ICO", "ICNS")  # later frames are previews, layers or other resolutions


@dataclass(frozen=True)
class Header:
    """Header of one file.

    Attributes:
        mode: Mode that keeps all information of the picture.
        format: Name of the format in Pillow.
        size: Height and width before the picture is turned by its EXIF orientation.
        several: True if the picture has further frames or pages, which are not read.
        cut: True if the picture has more bits than the 8 that Pillow reads.
    """

    mode: PictureMode
    format: str
    size: tuple[int, int]
    several: bool
    cut: bool


def header_of(image: Image.Image) -> Header:
    """Return the header of a picture, whose pixels need not be read yet."""
    return Header(
        mode_of(image),
        image.format or "unknown",
        image.size[::-1],
        several=image.format not in _NO_FRAMES and bool(getattr(image, "is_animated", False)),
        cut=_is_cut(image),
    )


def read_header(path: Path) -> Header:
    """Return the header of one file.

    Raises:
        DataError: The file is no picture that Pillow reads.
    """
    with opened(path) as image:
        return header_of(image)


def _is_cut(image: Image.Image) -> bool:
    if mode_of(image).depth != "8 bits":
        return False
    raw = str([tile[3] for tile in getattr(image, "tile", [])])  # how Pillow will unpack the file's bytes
    return ";16" in raw or (image.format == "PPM" and any(int(most) > 255 for most in re.findall(r"\d{3,}", raw)))


def in_words(headers: Sequence[Header], mode: PictureMode) -> str:
    """Return one phrase about how pictures are read.

    Example:
        >>> mode = PictureMode(1, "8 bits")
        >>> in_words([Header(mode, "PNG", (28, 28), several=False, cut=False)] * 2, mode)
        '2 PNG pictures of 28 x 28, in 8 bits grey'
    """
    formats = ", ".join(f"{count} {name}" for name, count in Counter(head.format for head in headers).most_common())
    sizes = sorted({head.size for head in headers}, key=lambda size: size[0] * size[1])
    span = " to ".join(f"{height} x {width}" for height, width in dict.fromkeys(sizes[:1] + sizes[-1:]))
    colour = "colour" if mode.channels == 3 else "grey"
    form = "real numbers" if mode.depth == "real" else f"{mode.depth} {colour}"
    return f"{formats} pictures of {span}, in {form}"


def about_headers(headers: Sequence[Header]) -> list[str]:
    """Return notes about parts of the pictures that are not read, and about pictures of different depths."""
    notes = []
    if several := sum(head.several for head in headers):
        notes.append(f"{several} of {len(headers)} pictures have several frames or pages: the first of each is read")
    if cut := sum(head.cut for head in headers):
        notes.append(
            f"{cut} of {len(headers)} pictures have colour of 16 bits, of which Pillow reads the upper 8: where the "
            "information is in the lower ones, convert them (each channel to grey of 16 bits, or arrays in .npz)"
        )
    depths = Counter(head.mode.depth for head in headers)
    if len(depths) > 1:
        counted = " and ".join(f"{count} of {depth}" for depth, count in sorted(depths.items()))
        notes.append(f"there are pictures {counted}: full scale of the one is taken for full scale of the other")
    return notes
