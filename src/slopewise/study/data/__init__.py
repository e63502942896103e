"""The images of a study: sources by name, and augmentation. `_base` states the contract of a source."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

from slopewise.errors import DataError, nearest
from slopewise.events import Reading
from slopewise.study._references import is_reference
from slopewise.study._spec import SOURCE_NAMES, DataSpec
from slopewise.study.data import _callable, _digits, _fashion_mnist, _folder, _npz
from slopewise.study.data._augment import Augment as Augment
from slopewise.study.data._base import DataWarning as DataWarning
from slopewise.study.data._base import ImageData as ImageData
from slopewise.study.data._base import Images as Images
from slopewise.study.data._base import RawData as RawData
from slopewise.study.data._prepare import balanced_subset as balanced_subset
from slopewise.study.data._prepare import prepare as prepare
from slopewise.study.data._prepare import stratified_split as stratified_split
from slopewise.study.data._reader import ImageReader as ImageReader
from slopewise.study.data._stored import StoredImages as StoredImages

Source = Callable[[DataSpec, ImageReader], RawData]

SOURCES: dict[str, Source] = dict(
    zip(SOURCE_NAMES, (_digits.load, _fashion_mnist.load, _folder.load, _npz.load), strict=True)
)


def load_data(
    spec: DataSpec, *, folder: Path | None = None, tell: Callable[[Reading], None] | None = None
) -> ImageData:
    """Load, check and normalise the images that a spec names, and issue each of the data's notes as a warning.

    Args:
        spec: Data section of a study.
        folder: Directory for images that do not fit in `data.memory_gib`; they take space on its disk, in a file
            without a name, while they are in use. None is the system's directory for temporary files.
        tell: Called with a `slopewise.events.Reading` from time to time while images are read.

    Raises:
        DataError: There is no such source, or its data cannot be used.

    Example:
        >>> data = load_data(DataSpec(source="digits", train_size=100))
        >>> tuple(data.train_images.shape), len(data.test_labels)
        ((100, 1, 8, 8), 808)
    """
    data = read_data(spec, folder=folder, tell=tell)
    for note in data.notes:
        warnings.warn(f"data: {note}", DataWarning, stacklevel=2)
    return data


def read_data(
    spec: DataSpec, *, folder: Path | None = None, tell: Callable[[Reading], None] | None = None
) -> ImageData:
    """Load, check and normalise the images that a spec names, as `load_data` does, but issue no warnings.

    Raises:
        DataError: There is no such source, or its data cannot be used.
    """
    reader = ImageReader(spec, folder, tell)
    return prepare(source(spec)(spec, reader), spec, reader)


def source(spec: DataSpec) -> Source:
    """Return the function that loads the images that a spec names.

    Raises:
        DataError: There is no such source.
    """
    if is_reference(spec.source):
        return _callable.load
    if spec.source not in SOURCES:
        raise DataError(
            f"unknown data '{spec.source}', which is no folder and no .npz file either; "
            f"{nearest(spec.source, [*SOURCES, 'module:callable'])}"
        )
    return SOURCES[spec.source]
