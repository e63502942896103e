"""Sizes of images on the command line."""

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
