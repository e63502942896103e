"""scikit-learn's digits: 1797 grey images of 8 x 8 pixels, part of the package, so nothing is downloaded."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import numpy as np
import torch

from slopewise.study._spec_tables import DataSpec
from slopewise.study._streams import stream
from slopewise.study.data._base import RawData
from slopewise.study.data._reader import ImageReader
from slopewise.study.data._targets import stratified_split

_TEST_FRACTION = 0.45  # 808 images: a grid of 0.12 points, fine enough for a margin of 0.5


def load(spec: DataSpec, reader: ImageReader) -> RawData:  # noqa: ARG001 - every source has this signature
    """Load the digits with a fixed, class-balanced test part; mirrored digits are other shapes, so no flips."""
    pixels, digits = _pixels_and_digits()
    images = torch.from_numpy(pixels).to(torch.float32)[:, None]
    labels = torch.from_numpy(digits).to(torch.int64)
    train, test = stratified_split(labels, _TEST_FRACTION, stream(0, "digits-test"))
    return RawData(images[train], labels[train], images[test], labels[test], tuple("0123456789"))


def _pixels_and_digits() -> tuple[np.ndarray, np.ndarray]:
    """Return images (N, 8, 8) and digits (N,), as `sklearn.datasets.load_digits` does."""
    # The file alone: scikit-learn imports SciPy and pandas, which takes longer than the other checks before a study.
    file = Path(str(metadata.distribution("scikit-learn").locate_file("sklearn/datasets/data/digits.csv.gz")))
    if file.is_file():
        rows = np.loadtxt(file, delimiter=",")
        return rows[:, :-1].reshape(-1, 8, 8), rows[:, -1]
    from sklearn.datasets import load_digits  # a version that keeps the file elsewhere

    digits = load_digits()
    return digits.images, digits.target
