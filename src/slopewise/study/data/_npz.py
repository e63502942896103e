"""One NumPy archive with the arrays `x_train`, `y_train`, `x_test`, `y_test` (the layout of Keras's data sets)."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import torch

from slopewise.errors import DataError
from slopewise.study._spec import DataSpec
from slopewise.study.data._arrays import from_arrays
from slopewise.study.data._base import RawData

_KEYS = ("x_train", "y_train", "x_test", "y_test")


def load(spec: DataSpec) -> RawData:
    """Images (N, H, W), (N, C, H, W) or (N, H, W, C), integer labels (N,).

    Raises:
        DataError: the file is missing or not an archive, or lacks one of the arrays.
    """
    if not spec.path:
        raise DataError("data.path: say which .npz file holds the images")
    path = Path(spec.path)
    try:
        with np.load(path, allow_pickle=False) as archive:
            if missing := [key for key in _KEYS if key not in archive]:
                raise DataError(
                    f"data.path: '{path}' has no array {missing[0]} (it has {', '.join(archive.files)}); "
                    f"needed are {', '.join(_KEYS)}"
                )
            arrays = [torch.from_numpy(archive[key]) for key in _KEYS]
    except (OSError, ValueError, TypeError, zipfile.BadZipFile) as error:
        raise DataError(f"data.path: cannot read '{path}' as an .npz file: {error}") from error
    return from_arrays(*arrays)
