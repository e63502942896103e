"""The images of a study: sources by name, and augmentation. `_base` states the contract of a source."""

from __future__ import annotations

from collections.abc import Callable

from slopewise.errors import DataError, nearest
from slopewise.study._references import is_reference
from slopewise.study._spec import DataSpec
from slopewise.study.data import _callable, _digits, _fashion_mnist, _folder, _npz
from slopewise.study.data._augment import Augment as Augment
from slopewise.study.data._base import ImageData as ImageData
from slopewise.study.data._base import Images as Images
from slopewise.study.data._base import LazyImages as LazyImages
from slopewise.study.data._base import RawData as RawData
from slopewise.study.data._prepare import balanced_subset as balanced_subset
from slopewise.study.data._prepare import prepare as prepare
from slopewise.study.data._prepare import stratified_split as stratified_split

SOURCES: dict[str, Callable[[DataSpec], RawData]] = {
    "digits": _digits.load,
    "fashion-mnist": _fashion_mnist.load,
    "folder": _folder.load,
    "npz": _npz.load,
}


def load_data(spec: DataSpec) -> ImageData:
    """Load, check and normalise the images that a spec names.

    Raises:
        DataError: no such source, or its data cannot be used.

    Example:
        >>> data = load_data(DataSpec(source="digits", train_size=100))
        >>> tuple(data.train_images.shape), len(data.test_labels)
        ((100, 1, 8, 8), 808)
    """
    if is_reference(spec.source):
        return prepare(_callable.load(spec), spec)
    if spec.source not in SOURCES:
        raise DataError(
            f"unknown data '{spec.source}', which is no folder and no .npz file either; "
            f"{nearest(spec.source, [*SOURCES, 'module:callable'])}"
        )
    return prepare(SOURCES[spec.source](spec), spec)
