"""Headers of pictures: the mode in which they will be read, and the parts that will not be read."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from slopewise.errors import DataError
from slopewise.study.data._picture import (
    RESIZING,
    PictureMode,
    common_mode,
    has_transparency,
    is_turned,
    mode_of,
    opened,
    upright_size,
)
from slopewise.study.data._reader import ImageReader

RESHAPED = 0.05  # relative change of a picture's height over its width from which on its shape counts as another
_NO_FRAMES = ("MPO", "PSD", "IM", "SPIDER", "ICO", "ICNS")  # later frames are previews, layers or other resolutions


@dataclass(frozen=True)
class Header:
    """Header of one file.

    Attributes:
        mode: Mode that keeps all information of the picture.
        format: Name of the format in Pillow.
        size: Height and width after the picture is turned by its EXIF orientation.
        several: True if the picture has further frames or pages, which are not read.
        cut: True if the picture has more bits than the 8 that Pillow reads.
        turned: True if the picture is turned by its EXIF orientation.
        transparent: True if pixels of the picture can be transparent.
    """

    mode: PictureMode
    format: str
    size: tuple[int, int]
    several: bool
    cut: bool
    turned: bool = False
    transparent: bool = False


def header_of(image: Image.Image) -> Header:
    """Return the header of a picture, whose pixels need not be read yet."""
    cut = _is_cut(image)  # before EXIF is looked for, for which Pillow reads all of a PNG
    return Header(
        mode_of(image),
        image.format or "unknown",
        upright_size(image),
        several=image.format not in _NO_FRAMES and bool(getattr(image, "is_animated", False)),
        cut=cut,
        turned=is_turned(image),
        transparent=has_transparency(image),
    )


def read_header(path: Path) -> Header:
    """Return the header of one file.

    Raises:
        DataError: The file is no picture that Pillow reads.
    """
    with opened(path) as image:
        return header_of(image)


def read_headers(files: Sequence[Path], reader: ImageReader) -> dict[Path, Header]:
    """Return the headers of the files that have one."""

    def header(index: int) -> Header | None:
        try:
            return read_header(files[index])
        except DataError:  # named, with all others, when the pixels are read
            return None

    headers = reader.each(header, len(files), what="headers of pictures")
    return {path: head for path, head in zip(files, headers, strict=True) if head}


def common_of(headers: Mapping[Path, Header]) -> PictureMode:
    """Return the mode that keeps every picture.

    Raises:
        DataError: There is none.
    """
    mode = common_mode(head.mode for head in headers.values())
    if mode is None:
        odd = {head.mode.depth == "real": path for path, head in headers.items()}
        raise DataError(
            f"data.path: '{odd[True]}' holds real numbers or integers of 32 bits and '{odd[False]}' has levels of 8 or "
            "16 bits, and nothing tells how the two scales compare: bring all pictures to one"
        )
    return mode


def raise_faults(faults: Sequence[str]) -> None:
    """Raise an error with the first descriptions of files that cannot be read, if there are any.

    Raises:
        DataError: There are.
    """
    if faults:
        more = f"; {len(faults) - 3} more files are at fault" if len(faults) > 3 else ""
        raise DataError("; ".join(sorted(faults)[:3]) + more)


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
    among = {
        "grey": sum(head.mode.channels < mode.channels for head in headers),
        "transparent in places and put on white": sum(head.transparent for head in headers),
        "turned as their EXIF says": sum(head.turned for head in headers),
    }
    parts = "".join(f", {count} of them {what}" for what, count in among.items() if count)
    return f"{formats} pictures of {span}, in {form}{parts}"


def facts_of(headers: Sequence[Header], mode: PictureMode, size: tuple[int, int]) -> dict[str, Any]:
    """Return facts about pictures that are resized, by which another picture can be read in the same way.

    Args:
        headers: Headers of all pictures.
        mode: Mode in which they are read.
        size: Height and width that they are resized to.

    Returns:
        `depth` of the mode, the filter `resizing`, the most frequent `usual_size` (height, width), the number of
        pictures that have it (`of_usual_size`), and the number whose shape changes (`reshaped`): height over width by
        more than 5 %.

    Example:
        >>> mode = PictureMode(3, "8 bits")
        >>> headers = [Header(mode, "JPEG", (80, 100), several=False, cut=False)] * 3
        >>> facts_of(headers, mode, (32, 32))
        {'depth': '8 bits', 'resizing': 'bilinear', 'usual_size': [80, 100], 'of_usual_size': 3, 'reshaped': 3}
    """
    usual, count = Counter(head.size for head in headers).most_common(1)[0]
    changes = [head.size[0] * size[1] / (head.size[1] * size[0]) for head in headers]
    return {
        "depth": mode.depth,
        "resizing": RESIZING,
        "usual_size": list(usual),
        "of_usual_size": count,
        "reshaped": sum(max(change, 1 / change) > 1 + RESHAPED for change in changes),
    }


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
