"""scikit-learn's digits: 1797 grey images of 8 x 8 pixels, part of the package, so nothing is downloaded."""

from __future__ import annotations

import torch

from slopewise.study._spec_tables import DataSpec
from slopewise.study._streams import stream
from slopewise.study.data._base import RawData
from slopewise.study.data._reader import ImageReader
from slopewise.study.data._targets import stratified_split

_TEST_FRACTION = 0.45  # 808 images: a grid of 0.12 points, fine enough for a margin of 0.5


def load(spec: DataSpec, reader: ImageReader) -> RawData:  # noqa: ARG001 - every source has this signature
    """Load the digits with a fixed, class-balanced test part; mirrored digits are other shapes, so no flips."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = torch.from_numpy(digits.images).to(torch.float32)[:, None]
    labels = torch.from_numpy(digits.target).to(torch.int64)
    train, test = stratified_split(labels, _TEST_FRACTION, stream(0, "digits-test"))
    return RawData(images[train], labels[train], images[test], labels[test], tuple("0123456789"))
