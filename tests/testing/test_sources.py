"""The kit for data sources: the sources of the package pass, and those with faults do not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from slopewise.errors import DataError
from slopewise.study import DataSpec
from slopewise.study.data import SOURCES, ImageReader, RawData, TargetKind, register_source
from slopewise.testing import check_data_source

LABELS = torch.arange(30) % 3


def test_the_digits_conform() -> None:
    check_data_source("digits")


def test_an_archive_conforms(tmp_path: Path) -> None:
    images, labels = np.random.default_rng(0).integers(0, 255, (60, 8, 8)).astype(np.uint8), np.arange(60) % 3
    np.savez(tmp_path / "a.npz", x_train=images, y_train=labels, x_test=images[:30], y_test=labels[:30])
    check_data_source(str(tmp_path / "a.npz"))


def test_a_folder_conforms(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (20, 8, 8)).astype(np.uint8)
    for number, image in enumerate(pixels):
        (tmp_path / "images" / "ab"[number % 2]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(tmp_path / "images" / "ab"[number % 2] / f"{number}.png")
    check_data_source(str(tmp_path / "images"), image_size=8)


def test_fashion_mnist_in_a_folder_of_its_files_conforms(tmp_path: Path) -> None:
    for part, count in (("train", 40), ("t10k", 20)):
        pixels = np.random.default_rng(0).integers(0, 255, (count, 28, 28)).astype(np.uint8)
        header = b"\0\0\x08\x03" + count.to_bytes(4) + (28).to_bytes(4) * 2
        (tmp_path / f"{part}-images-idx3-ubyte").write_bytes(header + pixels.tobytes())
        labels = (np.arange(count) % 10).astype(np.uint8).tobytes()
        (tmp_path / f"{part}-labels-idx1-ubyte").write_bytes(b"\0\0\x08\x01" + count.to_bytes(4) + labels)
    check_data_source("fashion-mnist", path=tmp_path)


def test_a_callable_of_the_user_conforms(user_module: Callable[[str, str], str]) -> None:
    code = "import numpy as np\ndef load():\n    x = np.random.default_rng(0).random((30, 8, 8))\n"
    name = user_module("mine", f"{code}    y = np.arange(30) % 3\n    return (x, y), (x, y)\n")
    check_data_source(f"{name}:load")


def test_the_patches_conform() -> None:
    check_data_source("patches", targets="images", options={"noise": 20})


@pytest.mark.parametrize("dimensions", [2, 3])
def test_the_shapes_conform(dimensions: int) -> None:
    check_data_source("shapes", targets="masks", options={"dimensions": dimensions})


@pytest.mark.parametrize("kind", ["masks", "images"])
def test_a_folder_of_pairs_conforms(tmp_path: Path, kind: TargetKind) -> None:
    numbers = np.random.default_rng(0)
    sides = ("images", "masks") if kind == "masks" else ("low", "high")
    for number in range(20):
        for side, top, size in ((sides[0], 255, 8), (sides[1], 3 if kind == "masks" else 255, 8)):
            (tmp_path / "pairs" / side).mkdir(parents=True, exist_ok=True)
            picture = numbers.integers(0, top, (size, size)).astype(np.uint8)
            Image.fromarray(picture).save(tmp_path / "pairs" / side / f"{number}.png")
    check_data_source(str(tmp_path / "pairs"), targets=kind, image_size=4)


@pytest.mark.parametrize("kind", ["multilabel", "masks", "values", "images"])
def test_an_archive_of_every_kind_conforms(tmp_path: Path, kind: TargetKind) -> None:
    numbers = np.random.default_rng(0)
    shapes = {"multilabel": (5,), "masks": (8, 9), "values": (2,), "images": (16, 18)}
    images = numbers.integers(0, 255, (60, 8, 9)).astype(np.uint8)
    targets = numbers.integers(0, 2, (60, *shapes[kind])).astype(np.uint8)
    np.savez(tmp_path / "a.npz", x_train=images[:40], y_train=targets[:40], x_test=images[40:], y_test=targets[40:])
    check_data_source(str(tmp_path / "a.npz"), targets=kind)


def right() -> RawData:
    images = torch.rand(30, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    return RawData(images, LABELS, images, LABELS, ("a", "b", "c"))


@pytest.fixture
def wrong() -> Iterator[None]:
    yield
    SOURCES.unregister("wrong")


@pytest.mark.usefixtures("wrong")
@pytest.mark.parametrize(
    ("load", "message"),
    [
        (lambda: replace(right(), train_images=torch.rand(30, 1, 8, 8)), "train_images differ in a second load"),
        (lambda: replace(right(), classes=("a", "b", "b")), "two classes have one name"),
        (lambda: replace(right(), train_targets=LABELS + 1), "training labels run to 3, but there are 3 classes"),
        (lambda: replace(right(), test_targets=LABELS.double()), "test labels are torch.float64, not integers"),
        (lambda: replace(right(), train_targets=LABELS[:9]), r"training labels have shape \(9,\), not \(30,\)"),
        (lambda: replace(right(), test_images=torch.rand(30, 8, 8)), r"not \(N, C, H, W\)"),
        (lambda: replace(right(), names=(["1"], ["2"])), "1 names of 30 images"),
        (lambda: right().train_images, "returned Tensor, not RawData"),
    ],
)
def test_faults_of_a_source_are_found(load: Callable[[], RawData], message: str) -> None:
    register_source("wrong", lambda spec, reader: load())
    with pytest.raises(AssertionError, match=message):
        check_data_source("wrong")


IMAGES = torch.rand(30, 1, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.usefixtures("wrong")
@pytest.mark.parametrize(
    ("kind", "targets", "message"),
    [
        ("masks", LABELS, r"training masks have shape \(30,\), not \(30, 8, 8\)"),
        ("masks", IMAGES, r"training masks have shape \(30, 1, 8, 8\), not \(30, 8, 8\)"),
        ("masks", IMAGES[:, 0], "training masks do not hold whole numbers"),
        ("multilabel", LABELS, r"training labels have shape \(30,\), not \(N, K\)"),
        ("multilabel", torch.stack([LABELS] * 3, 1), "training labels are not all 0 or 1"),
        ("multilabel", torch.stack([LABELS > 0, LABELS > 1], 1), r"2 labels, but names \('a', 'b', 'c'\)"),
        ("values", IMAGES, "not \\(N,\\) or \\(N, D\\)"),
        ("values", IMAGES[:, 0, 0, :3] / 0, "training values are not all finite"),
        ("values", LABELS[:9], "9 training values for 30 images"),
        ("images", torch.rand(30, 1, 8, 9), r"which is no whole multiple of \(30, 1, 8, 8\)"),
    ],
)
def test_targets_that_are_not_of_their_kind_are_found(kind: TargetKind, targets: torch.Tensor, message: str) -> None:
    raw = RawData(IMAGES, targets, IMAGES, targets, ("a", "b", "c"), kind=kind)
    register_source("wrong", lambda spec, reader: raw)
    with pytest.raises(AssertionError, match=message):
        check_data_source("wrong", targets=kind)


def test_a_source_of_other_targets_is_found() -> None:
    with pytest.raises(AssertionError, match="targets of the kind 'labels', not 'masks', which was asked for"):
        check_data_source("digits", targets="masks")


@pytest.mark.usefixtures("wrong")
def test_a_source_that_does_not_tell_what_is_missing_is_found(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()

    def load(spec: DataSpec, reader: ImageReader) -> RawData:
        if not any(Path(spec.path).iterdir()):
            raise DataError("no images")
        return right()

    (tmp_path / "data" / "image").touch()
    register_source("wrong", load)
    with pytest.raises(AssertionError, match="a path that does not exist raises FileNotFoundError"):
        check_data_source("wrong", path=tmp_path / "data")
    register_source("wrong", lambda spec, reader: load(spec, reader) if Path(spec.path).exists() else right())
    with pytest.raises(AssertionError, match="a path that does not exist raises no error"):
        check_data_source("wrong", path=tmp_path / "data")
