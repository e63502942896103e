"""A further source, in this file alone: LIBSVM's text format, in which USPS and MNIST are distributed."""

from __future__ import annotations

from collections.abc import Iterator
from math import isqrt
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import dump_svmlight_file, load_svmlight_file
from torch import Tensor

from slopewise.errors import DataError
from slopewise.study import DataSpec, StudySpec
from slopewise.study.data import SOURCES, ImageReader, RawData, Source, register_source
from slopewise.testing import check_data_source


def load(spec: DataSpec, reader: ImageReader) -> RawData:
    """Read FILE.libsvm with the training images and FILE.libsvm.t with the test images, all square."""
    path = Path(spec.path or "")
    train, train_labels = read(path)
    test, test_labels = read(path.with_name(f"{path.name}.t"), train.shape[1])
    classes, numbers = np.unique(train_labels, return_inverse=True)
    if unknown := set(test_labels) - set(classes):
        raise DataError(f"data.path: '{path}.t' has labels {sorted(unknown)} that '{path}' lacks: remove them")
    side = isqrt(train.shape[1])
    shape = (-1, 1, side, side)
    test_numbers = torch.from_numpy(np.searchsorted(classes, test_labels))
    names = tuple(f"{label:g}" for label in classes)
    return RawData(train.view(shape), torch.from_numpy(numbers), test.view(shape), test_numbers, names)


def read(path: Path, features: int | None = None) -> tuple[Tensor, np.ndarray]:
    try:
        images, labels = load_svmlight_file(path, n_features=features, dtype=np.float32)
    except (OSError, ValueError) as error:
        raise DataError(f"data.path: cannot read '{path}' as a LIBSVM file: {error}") from error
    if isqrt(images.shape[1]) ** 2 != images.shape[1]:
        raise DataError(f"data.path: '{path}' has {images.shape[1]} pixels an image, which are no square")
    return torch.from_numpy(images.toarray()), labels


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    register_source("libsvm", Source(load, suffixes=(".libsvm",)))
    numbers = np.random.default_rng(0)
    for name, count in (("a.libsvm", 60), ("a.libsvm.t", 30)):
        pixels = 0.5 + numbers.random((count, 16))
        dump_svmlight_file(pixels, np.arange(count) % 3 + 1, str(tmp_path / name), zero_based=False)
    yield tmp_path / "a.libsvm"
    SOURCES.unregister("libsvm")


def test_a_source_in_one_file_conforms(file: Path) -> None:
    check_data_source("libsvm", path=file)
    check_data_source(str(file))


def test_a_path_stands_for_it_in_a_study(file: Path) -> None:
    data = StudySpec(data={"source": str(file)}).data
    assert (data.source, data.path) == ("libsvm", str(file))
