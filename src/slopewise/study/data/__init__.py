"""The images of a study: sources by name, and augmentation. `_base` states the contract of a source."""

from __future__ import annotations

import warnings
from collections.abc import Callable

from slopewise.errors import DataError, nearest
from slopewise.study._references import is_reference
from slopewise.study._spec import SOURCE_NAMES, DataSpec
from slopewise.study.data import _callable, _digits, _fashion_mnist, _folder, _npz
from slopewise.study.data._augment import Augment as Augment
from slopewise.study.data._base import DataWarning as DataWarning
from slopewise.study.data._base import ImageData as ImageData
from slopewise.study.data._base import Images as Images
from slopewise.study.data._base import LazyImages as LazyImages
from slopewise.study.data._base import RawData as RawData
from slopewise.study.data._prepare import balanced_subset as balanced_subset
from slopewise.study.data._prepare import prepare as prepare
from slopewise.study.data._prepare import stratified_split as stratified_split

SOURCES: dict[str, Callable[[DataSpec], RawData]] = dict(
    zip(SOURCE_NAMES, (_digits.load, _fashion_mnist.load, _folder.load, _npz.load), strict=True)
)


def load_data(spec: DataSpec) -> ImageData:
    """Load, check and normalise the images that a spec names, and warn of each of the data's notes.

    Raises:
        DataError: no such source, or its data cannot be used.

    Example:
        >>> data = load_data(DataSpec(source="digits", train_size=100))
        >>> tuple(data.train_images.shape), len(data.test_labels)
        ((100, 1, 8, 8), 808)
    """
    data = read_data(spec)
    for note in data.notes:
        warnings.warn(f"data: {note}", DataWarning, stacklevel=2)
    return data


def read_data(spec: DataSpec) -> ImageData:
    """Do the same as `load_data` without a word, in processes whose driver has spoken.

    Raises:
        DataError: no such source, or its data cannot be used.
    """
    return prepare(source(spec)(spec), spec)


def source(spec: DataSpec) -> Callable[[DataSpec], RawData]:
    """What loads the images that a spec names.

    Raises:
        DataError: no such source.
    """
    if is_reference(spec.source):
        return _callable.load
    if spec.source not in SOURCES:
        raise DataError(
            f"unknown data '{spec.source}', which is no folder and no .npz file either; "
            f"{nearest(spec.source, [*SOURCES, 'module:callable'])}"
        )
    return SOURCES[spec.source]
