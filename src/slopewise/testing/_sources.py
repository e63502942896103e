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

from slopewise.errors import DataError
from slopewise.study import DataSpec
from slopewise.study.data import DataWarning, ImageData, ImageReader, RawData, TargetKind, load_data, source_of
from slopewise.testing._targets import check_prepared_targets, check_raw_targets, pixels

_ROUNDING = 1e-3


def check_data_source(source: str, targets: TargetKind = "labels", **fields: Any) -> None:
    """Check that a source of data keeps its contract, with data that it reads.

    The checks are: images are real numbers (N, C, H, W) or (N, C, D, H, W) with one shape in both parts; targets are of
    the kind that is asked for, in its shape and with its values (labels: integers (N,) from 0 to one less than the
    number of classes); classes have different names; a second load, from another state of the random generators,
    returns the same, and so does one that keeps the pixels on disk; prepared images are float32 with mean 0 and
    deviation 1 per channel, or from 0 to 1 where targets are images, and survive pickling with their targets; a path
    that does not exist, an empty directory and a file that is cut short raise `DataError` with the path in the message.

    Args:
        source: Name of the source, a path that stands for it, or `module:callable`.
        targets: Kind of targets to ask for.
        **fields: Further fields of the spec's data section, such as `path` and `options`.

    Raises:
        AssertionError: A check failed; the message says which.

    Example:
        >>> check_data_source("digits")
        >>> check_data_source("shapes", targets="masks")
    """
    spec = DataSpec(source=source, **fields)
    raw = _loaded(spec, targets, seed=0)
    _check_raw(raw)
    check_raw_targets(raw, targets)
    _check_same(raw, _loaded(spec, targets, seed=1))
    data = _prepared(spec, targets)
    on_disk = _prepared(spec.model_copy(update={"memory_gib": 1e-9}), targets)
    assert data.digest == on_disk.digest, "the digest of images on disk differs from that of images in memory"
    _check_prepared(data)
    check_prepared_targets(data)
    if spec.path is not None:
        _check_faults(spec, targets, Path(spec.path))


def _loaded(spec: DataSpec, targets: TargetKind, seed: int) -> RawData:
    states = random.getstate(), np.random.get_state()  # noqa: NPY002 - the global state is what a source may draw from
    try:
        with torch.random.fork_rng(devices=[]):
            random.seed(seed)
            np.random.seed(seed)  # noqa: NPY002
            torch.manual_seed(seed)
            return source_of(spec).function()(spec, ImageReader(spec, targets=targets))
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002


def _check_raw(raw: RawData) -> None:
    assert isinstance(raw, RawData), f"load() returned {type(raw).__name__}, not RawData"
    for part, images in {"training": raw.train_images, "test": raw.test_images}.items():
        shape, dtype = tuple(images.shape), images.dtype
        assert len(shape) in (4, 5), f"{part} images have shape {shape}, not (N, C, H, W) or (N, C, D, H, W)"
        assert 0 not in shape, f"{part} images have shape {shape}"
        assert not dtype.is_complex, f"{part} images are {dtype}, not real numbers"
    assert raw.train_images.shape[1:] == raw.test_images.shape[1:], "images of the two parts differ in shape"
    for names, images in zip(raw.names or (), (raw.train_images, raw.test_images), strict=raw.names is not None):
        assert len(names) == len(images), f"{len(names)} names of {len(images)} images"


def _check_same(first: RawData, second: RawData) -> None:
    for field in ("train_images", "test_images", "train_targets", "test_targets"):
        one, other = pixels(getattr(first, field)), pixels(getattr(second, field))
        assert torch.equal(one, other), f"{field} differ in a second load: random choices need a generator of their own"
    for field in ("classes", "flip", "notes", "reading", "names", "kind", "data_range"):
        assert getattr(first, field) == getattr(second, field), f"{field} differ in a second load"


def _prepared(spec: DataSpec, targets: TargetKind) -> ImageData:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)  # notes about data that are right to be there
        return load_data(spec, targets)


def _check_prepared(data: ImageData) -> None:
    count = len(data.train_targets)
    images = data.train_images[torch.arange(count)]
    assert images.dtype == torch.float32, f"prepared images are {images.dtype}"
    if data.kind == "images":
        assert bool(((images >= 0) & (images <= 1)).all()), "prepared images lie outside 0 to 1"
    else:
        axes = (0, *range(2, images.dim()))
        mean, deviation = images.double().mean(dim=axes), images.double().std(dim=axes, correction=0)
        assert bool((mean.abs() < _ROUNDING).all()), f"the channels' means are {mean.tolist()}"
        varied = deviation > 0  # a constant channel stays constant
        assert bool(((deviation - 1).abs() < _ROUNDING)[varied].all()), f"their deviations are {deviation.tolist()}"
    copy = pickle.loads(pickle.dumps(data))  # noqa: S301 - made here
    assert torch.equal(copy.train_images[torch.arange(count)], images), "pickling changes the images"
    targets, copied = (part.train_targets[torch.arange(count)] for part in (data, copy))
    assert torch.equal(targets, copied), "pickling changes the targets"
    assert copy.facts() == data.facts(), "pickling changes the facts of the data"


def _check_faults(spec: DataSpec, targets: TargetKind, path: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        missing, damaged = Path(folder) / "missing" / path.name, Path(folder) / path.name
        _check_refused(spec, targets, missing, "a path that does not exist")
        if path.is_dir():
            damaged.mkdir()
            _check_refused(spec, targets, damaged, "an empty directory")
        else:
            shutil.copy(path, damaged)
            with damaged.open("r+b") as file:
                file.truncate(path.stat().st_size // 2)
            _check_refused(spec, targets, damaged, "a file that is cut short")


def _check_refused(spec: DataSpec, targets: TargetKind, path: Path, what: str) -> None:
    message = None
    try:
        _prepared(spec.model_copy(update={"path": str(path)}), targets)
    except DataError as error:
        message = str(error)
    except Exception as error:
        raise AssertionError(f"{what} raises {error!r}, not DataError") from error
    assert message is not None, f"{what} raises no error"
    assert str(path) in message, f"the error about {what} does not name it: {message}"
