"""From a spec to the data of trials."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

from slopewise.errors import DataWarning
from slopewise.events import Reading
from slopewise.study._spec_tables import DataSpec
from slopewise.study.data._base import ImageData
from slopewise.study.data._named import source_of
from slopewise.study.data._prepare import prepare
from slopewise.study.data._reader import ImageReader
from slopewise.study.data._targets import TargetKind


def load_data(
    spec: DataSpec,
    targets: TargetKind = "labels",
    *,
    folder: Path | None = None,
    on_event: Callable[[Reading], None] | None = None,
) -> ImageData:
    """Load, check and normalise the images that a spec names, and issue each of the data's notes as a warning.

    Args:
        spec: Data section of a study.
        targets: Kind of targets that the study's task asks for.
        folder: Directory for images that do not fit in `data.memory_gib`; they take space on its disk, in a file
            without a name, while they are in use. None is the system's directory for temporary files.
        on_event: Called with a `slopewise.events.Reading` from time to time while images are read.

    Raises:
        DataError: There is no such source, or its data cannot be used.

    Example:
        >>> data = load_data(DataSpec(source="digits", train_size=100))
        >>> tuple(data.train_images.shape), len(data.test_targets)
        ((100, 1, 8, 8), 808)
    """
    data = read_data(spec, targets, folder=folder, on_event=on_event)
    for note in data.notes:
        warnings.warn(f"data: {note}", DataWarning, stacklevel=2)
    return data


def read_data(
    spec: DataSpec,
    targets: TargetKind = "labels",
    *,
    folder: Path | None = None,
    on_event: Callable[[Reading], None] | None = None,
) -> ImageData:
    """Load, check and normalise the images that a spec names, as `load_data` does, but issue no warnings.

    Raises:
        DataError: There is no such source, or its data cannot be used.
    """
    reader = ImageReader(spec, folder, on_event, targets=targets)
    return prepare(source_of(spec).function()(spec, reader), spec, reader)
