"""Further images, prepared as those of a study were: read from pictures, resized and standardised."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

import torch
from PIL import Image
from torch import Tensor

from slopewise.errors import DataError, DataWarning
from slopewise.study._references import describe
from slopewise.study.data._arrays import to_tensor
from slopewise.study.data._gathered import standardised
from slopewise.study.data._picture import RESIZING, Depth, PictureMode, common_mode, mode_of, opened, to_pixels

Photo: TypeAlias = str | os.PathLike[str] | Image.Image


class Preparation:
    """Preparation of an image for the networks of a study, from the facts that the study has stored.

    Args:
        facts: Facts of the study's data.

    Attributes:
        shape: Shape of an image, (C, H, W) or (C, D, H, W).

    Example:
        >>> prepare = Preparation({"shape": [1, 2, 2], "mean": [5.0], "deviation": [2.0]})
        >>> prepare(torch.full((1, 2, 2), 9)).flatten().tolist()
        [2.0, 2.0, 2.0, 2.0]
    """

    def __init__(self, facts: Mapping[str, Any]) -> None:
        self.shape = tuple(facts["shape"])
        self._pictures = facts.get("pictures")
        data_range = facts.get("data_range")  # images whose targets are images are divided by it
        mean, deviation = (facts["mean"], facts["deviation"]) if data_range is None else ([0.0], [data_range])
        axes = (-1, *[1] * (len(self.shape) - 1))
        self._mean, self._deviation = (torch.tensor(values).view(axes) for values in (mean, deviation))

    def __call__(self, image: Any) -> Tensor:
        """Return one image (1, C, H, W), or several (N, C, H, W), as the networks of the study take them.

        Args:
            image: Path of a picture or a Pillow image, which is read like the study's own pictures; or pixels in the
                scale of the study's data, a tensor or array (C, H, W) or (N, C, H, W).

        Raises:
            DataError: The picture cannot be read, or the pixels have another shape.

        Warns:
            DataWarning: The picture is in colour, and the study's pictures are grey.
        """
        is_photo = isinstance(image, (str, os.PathLike, Image.Image))
        pixels = self._read(image) if is_photo else to_tensor(image, "the pixels")
        if tuple(pixels.shape[-len(self.shape) :]) != self.shape or pixels.ndim > len(self.shape) + 1:
            raise DataError(
                f"the pixels have shape {tuple(pixels.shape)}, and the study's images {self.shape}, channels first: "
                "give one such image, or several (N, ...)"
            )
        return standardised(pixels.reshape(-1, *self.shape), self._mean, self._deviation)

    def _read(self, photo: Photo) -> Tensor:
        name = "the Pillow image" if isinstance(photo, Image.Image) else f"'{os.fspath(photo)}'"
        if not self._pictures:
            raise DataError(
                f"{name} is a picture, and the study's images were not resized from picture files, so that nothing "
                f"tells how to read it: give pixels {self.shape} in the scale of the study's data"
            )
        if self._pictures["resizing"] != RESIZING:
            raise DataError(f"the study resized by '{self._pictures['resizing']}', and this version has '{RESIZING}'")
        mode = PictureMode(cast("Literal[1, 3]", self.shape[0]), cast("Depth", self._pictures["depth"]))
        with _opened(photo, name) as image:
            own = mode_of(image)
            fits = common_mode((PictureMode(mode.channels, own.depth), mode)) == mode
            pixels = to_pixels(image, mode, size=(self.shape[1], self.shape[2])) if fits else torch.empty(0)
        if not fits:
            raise DataError(f"{name} has pixels of {own.depth}, and the study's pictures of {mode.depth}: convert it")
        if own.channels > mode.channels:
            warnings.warn(f"{name} is in colour, and the study's pictures are grey", DataWarning, stacklevel=4)
        return pixels


@contextmanager
def _opened(photo: Photo, name: str) -> Iterator[Image.Image]:
    """Open a picture inside the block, and turn any error into a `DataError` that names it."""
    if isinstance(photo, Image.Image):
        try:
            yield photo
        except Exception as error:  # Pillow may read the pixels only now, and raise nearly anything
            raise DataError(f"{name} cannot be decoded: {describe(error)}") from error
        return
    path = Path(photo)
    if not path.is_file():
        raise DataError(f"{name} {'is a folder: name its files' if path.is_dir() else 'does not exist'}")
    try:
        with opened(path) as image:
            yield image
    except DataError as error:
        raise DataError(str(error).removeprefix("data.path: ")) from error
