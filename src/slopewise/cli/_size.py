"""Sizes and shapes of images on the command line."""

from __future__ import annotations

import re

import typer


def size(text: str) -> list[int]:
    """Return the height and width of a size: 64, or 64x48.

    Raises:
        typer.BadParameter: The text is neither.

    Example:
        >>> size("64"), size("64x48")
        ([64, 64], [64, 48])
    """
    parts = re.fullmatch(r"([0-9]{1,9})(?:[x×,]([0-9]{1,9}))?", text.strip().lower())
    if parts is None:
        raise typer.BadParameter(f"'{text:.40}' is no size: write pixels, as in 64, or HEIGHTxWIDTH, as in 64x48")
    return [int(parts[1]), int(parts[2] or parts[1])]


def shape(text: str) -> list[int]:
    """Return the shape of an image: its channels and one to three sizes, as in 3x112x112.

    Raises:
        typer.BadParameter: The text is no such shape.

    Example:
        >>> shape("3x112x112"), shape("1x32x32x32")
        ([3, 112, 112], [1, 32, 32, 32])
    """
    if re.fullmatch(r"[1-9][0-9]{0,5}([x×,][1-9][0-9]{0,5}){1,3}", text.strip().lower()) is None:
        raise typer.BadParameter(
            f"'{text:.40}' is no shape of an image: write its channels and sizes, as in 3x112x112, or 1x32x32x32 for "
            "volumes"
        )
    return [int(part) for part in re.findall("[0-9]+", text)]
