"""Conformance kit of data sources: the contract of `slopewise.study.data`, checked on data."""

from __future__ import annotations

import pickle
import random
import shutil
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from slopewise.errors import DataError
from slopewise.study import DataSpec
from slopewise.study.data import DataWarning, ImageData, ImageReader, RawData, StoredImages, load_data, source_of

_ROUNDING = 1e-3


def check_data_source(source: str, **fields: Any) -> None:
    """Check that a source of data keeps its contract, with data that it reads.

    The checks are: images are real numbers (N, C, H, W) with one shape in both parts, labels are integers (N,) from 0
    to one less than the number of classes, and classes have different names; a second load, from another state of the
    random generators, returns the same, and so does one that keeps the pixels on disk; prepared images are float32
    with mean 0 and deviation 1 per channel, and survive pickling; a path that does not exist, an empty directory and a
    file that is cut short raise `DataError` with the path in the message.

    Args:
        source: Name of the source, a path that stands for it, or `module:callable`.
        **fields: Further fields of the spec's data section, such as `path` and `options`.

    Raises:
        AssertionError: A check failed; the message says which.

    Example:
        >>> check_data_source("digits")
    """
    spec = DataSpec(source=source, **fields)
    raw = _loaded(spec, seed=0)
    _check_raw(raw)
    _check_same(raw, _loaded(spec, seed=1))
    data = _prepared(spec)
    on_disk = _prepared(spec.model_copy(update={"memory_gib": 1e-9}))
    assert data.digest == on_disk.digest, "the digest of images on disk differs from that of images in memory"
    _check_prepared(data)
    if spec.path is not None:
        _check_faults(spec, Path(spec.path))


def _loaded(spec: DataSpec, seed: int) -> RawData:
    states = random.getstate(), np.random.get_state()  # noqa: NPY002 - the global state is what a source may draw from
    try:
        with torch.random.fork_rng(devices=[]):
            random.seed(seed)
            np.random.seed(seed)  # noqa: NPY002
            torch.manual_seed(seed)
            return source_of(spec).function()(spec, ImageReader(spec))
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002


def _pixels(images: Tensor | StoredImages) -> Tensor:
    return images.tensor if isinstance(images, StoredImages) else images


def _check_raw(raw: RawData) -> None:
    assert isinstance(raw, RawData), f"load() returned {type(raw).__name__}, not RawData"
    assert len(raw.classes) > 1, f"there must be 2 classes or more, not {raw.classes}"
    assert len(set(raw.classes)) == len(raw.classes), f"two classes have one name: {raw.classes}"
    assert all(isinstance(name, str) and name for name in raw.classes), f"names of classes: {raw.classes}"
    parts = {
        "training": (raw.train_images, _pixels(raw.train_targets)),
        "test": (raw.test_images, _pixels(raw.test_targets)),
    }
    for part, (images, labels) in parts.items():
        shape, dtype = tuple(images.shape), images.dtype
        assert len(shape) == 4, f"{part} images have shape {shape}, not (N, C, H, W)"
        assert 0 not in shape, f"{part} images have shape {shape}"
        assert not dtype.is_complex, f"{part} images are {dtype}, not real numbers"
        assert labels.shape == shape[:1], f"{part} labels have shape {tuple(labels.shape)}, not {shape[:1]}"
        assert not labels.dtype.is_floating_point, f"{part} labels are {labels.dtype}, not integers"
        low, high = int(labels.min()), int(labels.max())
        assert low >= 0, f"{part} labels begin at {low}"
        assert high < len(raw.classes), f"{part} labels run to {high}, but there are {len(raw.classes)} classes"
    assert raw.train_images.shape[1:] == raw.test_images.shape[1:], "images of the two parts differ in shape"
    for names, images in zip(raw.names or (), (raw.train_images, raw.test_images), strict=raw.names is not None):
        assert len(names) == len(images), f"{len(names)} names of {len(images)} images"


def _check_same(first: RawData, second: RawData) -> None:
    for field in ("train_images", "test_images", "train_targets", "test_targets"):
        one, other = _pixels(getattr(first, field)), _pixels(getattr(second, field))
        assert torch.equal(one, other), f"{field} differ in a second load: random choices need a generator of their own"
    for field in ("classes", "flip", "notes", "reading", "names"):
        assert getattr(first, field) == getattr(second, field), f"{field} differ in a second load"


def _prepared(spec: DataSpec) -> ImageData:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)  # notes about data that are right to be there
        return load_data(spec)


def _check_prepared(data: ImageData) -> None:
    count = len(data.train_targets)
    images = data.train_images[torch.arange(count)]
    assert images.dtype == torch.float32, f"prepared images are {images.dtype}"
    mean, deviation = images.double().mean(dim=(0, 2, 3)), images.double().std(dim=(0, 2, 3), correction=0)
    assert bool((mean.abs() < _ROUNDING).all()), f"the channels' means are {mean.tolist()}"
    varied = deviation > 0  # a constant channel stays constant
    assert bool(((deviation - 1).abs() < _ROUNDING)[varied].all()), f"their deviations are {deviation.tolist()}"
    copy = pickle.loads(pickle.dumps(data))  # noqa: S301 - made here
    assert torch.equal(copy.train_images[torch.arange(count)], images), "pickling changes the images"
    assert copy.facts() == data.facts(), "pickling changes the facts of the data"


def _check_faults(spec: DataSpec, path: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        missing, damaged = Path(folder) / "missing" / path.name, Path(folder) / path.name
        _check_refused(spec, missing, "a path that does not exist")
        if path.is_dir():
            damaged.mkdir()
            _check_refused(spec, damaged, "an empty directory")
        else:
            shutil.copy(path, damaged)
            with damaged.open("r+b") as file:
                file.truncate(path.stat().st_size // 2)
            _check_refused(spec, damaged, "a file that is cut short")


def _check_refused(spec: DataSpec, path: Path, what: str) -> None:
    message = None
    try:
        _prepared(spec.model_copy(update={"path": str(path)}))
    except DataError as error:
        message = str(error)
    except Exception as error:
        raise AssertionError(f"{what} raises {error!r}, not DataError") from error
    assert message is not None, f"{what} raises no error"
    assert str(path) in message, f"the error about {what} does not name it: {message}"
