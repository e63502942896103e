"""Targets of every kind from arrays: what trials get, and what is refused in one line."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from slopewise.errors import DataError
from slopewise.study import DataSpec
from slopewise.study.data import IGNORED, DataWarning, ImageData, TargetKind, read_data

Load = Callable[..., ImageData]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def load(kind: TargetKind, arrays: dict[str, Any], **spec: Any) -> ImageData:
        np.savez(tmp_path / "a.npz", **arrays)
        return read_data(DataSpec(source=str(tmp_path / "a.npz"), **spec), kind)

    return load


def noise(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def masks(seed: int, *shape: int, classes: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, classes, shape)


def both(x: Callable[..., Any], y: Callable[..., Any], **names: str) -> dict[str, Any]:
    """Arrays of 12 training and 8 test images with targets."""
    return {"x_train": x(0, 12), "y_train": y(2, 12), "x_test": x(1, 8), "y_test": y(3, 8)}


def pictures(seed: int, count: int) -> np.ndarray:
    return noise(seed, count, 8, 9)


def every(images: Any) -> np.ndarray:
    return images[torch.arange(len(images))].numpy()


@pytest.mark.parametrize(
    "form",
    [
        lambda m: m,
        lambda m: m.astype(np.float64),
        lambda m: m.astype(np.uint8)[:, None],
        lambda m: m[..., None],
        lambda m: m.astype(np.int16),
    ],
)
def test_masks_of_any_number_type_are_classes(load: Load, form: Callable[[np.ndarray], np.ndarray]) -> None:
    arrays = both(pictures, lambda seed, n: form(masks(seed, n, 8, 9)))
    data = load("masks", arrays)
    assert np.array_equal(every(data.train_targets), masks(2, 12, 8, 9))
    assert every(data.train_targets).dtype == np.int64
    assert data.classes == ("0", "1", "2")
    standardised = (arrays["x_train"] - arrays["x_train"].mean()) / arrays["x_train"].std()
    assert np.allclose(every(data.train_images)[:, 0], standardised, atol=1e-5)
    assert {"targets": "masks", "target_shape": [8, 9]}.items() <= data.facts().items()
    assert load("masks", arrays, memory_gib=1e-9).digest == data.digest


@pytest.mark.parametrize("value", [255, -1, 7, 10**6])
def test_ignored_pixels_are_of_no_class(load: Load, value: int) -> None:
    def holed(seed: int, n: int) -> np.ndarray:
        return np.where(noise(seed, n, 8, 9) < 30, value, masks(seed, n, 8, 9))

    arrays = both(pictures, holed)
    if value < 2**16:
        with pytest.raises(DataError, match=rf"masks hold .*data\.ignore_index = {value} if {value} .* marks pixels"):
            load("masks", arrays)
    data = load("masks", arrays, ignore_index=value)
    expected = np.where(noise(3, 8, 8, 9) < 30, IGNORED, masks(3, 8, 8, 9))
    assert np.array_equal(every(data.test_targets), expected)
    assert data.classes == ("0", "1", "2")


def test_black_and_white_masks_are_two_classes(load: Load) -> None:
    data = load("masks", both(pictures, lambda seed, n: 255 * masks(seed, n, 8, 9, classes=2).astype(np.uint8)))
    assert np.array_equal(every(data.train_targets), masks(2, 12, 8, 9, classes=2))
    assert "masks hold 0 and 255, which are taken for classes 0 and 1" in data.notes


def test_volumes_take_masks_that_tell_their_axes(load: Load) -> None:
    data = load("masks", both(lambda s, n: noise(s, n, 5, 8, 9), lambda s, n: masks(s, n, 5, 8, 9)))
    assert data.facts()["shape"] == [1, 5, 8, 9]
    assert np.array_equal(every(data.test_targets), masks(3, 8, 5, 8, 9))


def test_several_labels_are_rows_of_numbers(load: Load) -> None:
    data = load("multilabel", both(pictures, lambda s, n: masks(s, n, 4, classes=2)), classes=["a", "b", "c", "d"])
    assert every(data.train_targets).dtype == np.float32
    assert np.array_equal(every(data.train_targets), masks(2, 12, 4, classes=2))
    assert data.classes == ("a", "b", "c", "d")


@pytest.mark.parametrize("columns", [0, 1, 3])
def test_values_keep_their_scale(load: Load, columns: int) -> None:
    def values(seed: int, n: int) -> np.ndarray:
        return np.random.default_rng(seed).normal(50, 9, (n, columns) if columns else n)

    data = load("values", both(pictures, values))
    assert np.array_equal(every(data.test_targets), values(3, 8).astype(np.float32).reshape(8, -1))
    assert data.classes == (("value",) if columns < 2 else ("value 0", "value 1", "value 2"))


@settings(deadline=None, max_examples=20)
@given(
    st.sampled_from([("uint8", 255), ("uint16", 65535), ("float32", 1), ("float64", 1)]),
    st.integers(1, 3),
    st.booleans(),
)
def test_inputs_and_targets_are_divided_by_one_range(
    tmp_path_factory: pytest.TempPathFactory, form: tuple[str, int], factor: int, deep: bool
) -> None:
    dtype, top = form

    def images(seed: int, n: int, scale: int = 1) -> np.ndarray:
        shape = (n, 1, *([3 * scale] if deep else []), 8 * scale, 9 * scale)
        return (np.random.default_rng(seed).random(shape) * top).astype(dtype)

    path = tmp_path_factory.mktemp("images") / "a.npz"
    arrays = both(images, lambda seed, n: images(seed, n, factor))
    np.savez(path, **arrays)
    data = read_data(DataSpec(source=str(path), layout="CDHW" if deep else "CHW"), "images")
    assert data.data_range == top
    for part, name in ((data.train_images, "x_train"), (data.test_targets, "y_test")):
        assert np.allclose(every(part), arrays[name] / top, rtol=1e-6)
    copy = pickle.loads(pickle.dumps(data))
    assert np.array_equal(every(copy.train_targets), every(data.train_targets))


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("masks", ("images_train", "masks_train", "imagesTest", "test_masks")),
        ("masks", ("X_train", "train_seg", "X_test", "test_seg")),
        ("images", ("lr_train", "hr_train", "lr_test", "hr_test")),
        ("images", ("low_train", "high_train", "test_low", "test_high")),
        ("images", ("train_noisy", "train_clean", "test_noisy", "test_clean")),
        ("images", ("input_train", "target_train", "input_test", "target_test")),
        ("values", ("x_train", "targets_train", "x_test", "values_test")),
        ("multilabel", ("x_train", "onehot_train", "x_test", "labels_test")),
    ],
)
def test_arrays_are_known_by_the_words_of_their_kind(load: Load, kind: TargetKind, names: tuple[str, ...]) -> None:
    forms: dict[str, Callable[..., Any]] = {
        "masks": lambda s, n: masks(s, n, 8, 9),
        "images": lambda s, n: noise(s, n, 16, 18),
        "values": lambda s, n: noise(s, n, 2),
        "multilabel": lambda s, n: masks(s, n, 2, classes=2),
    }
    arrays = both(pictures, forms[kind])
    renamed = dict(zip(names, arrays.values(), strict=True))
    assert load(kind, renamed).digest == load(kind, arrays).digest


def test_one_pair_is_split_whatever_the_targets(load: Load) -> None:
    arrays = {"images": noise(0, 30, 8, 9), "masks": masks(0, 30, 8, 9), "labels": np.arange(30) % 3}
    data = load("masks", arrays)
    assert (len(data.train_targets), len(data.test_targets)) == (24, 6)
    images = [*every(data.train_images), *every(data.test_images)]
    brightness = {round(float(image.sum()), 2) for image in images}
    assert len(brightness) == 30  # every image once
    assert len(load("masks", arrays, train_size=7).train_images) == 7
    assert load("labels", arrays).facts()["classes"] == ["0", "1", "2"]


def gap(seed: int, n: int) -> np.ndarray:
    return 2 * masks(seed, n, 8, 9)


@pytest.mark.parametrize(
    ("kind", "x", "y", "spec", "message"),
    [
        (
            "masks",
            pictures,
            lambda s, n: masks(s, n, 8, 8),
            {},
            r"masks are each of shape \(8, 8\), their images of 8 x",
        ),
        ("masks", pictures, lambda s, n: noise(s, n, 8, 9, 3), {}, "colours must be turned into one number a pixel"),
        ("masks", pictures, lambda s, n: noise(s, n, 5, 8, 9), {}, r"for one channel a class, take masks.argmax\(1\)"),
        ("masks", pictures, lambda s, n: masks(s, n - 1, 8, 9), {}, "12 training images but 11 masks"),
        ("masks", pictures, lambda s, n: masks(s, n, 8, 9) / 2, {}, "masks hold 0.5, but must be whole numbers"),
        ("masks", pictures, lambda s, n: masks(s, n, 8, 9) * 0, {}, "all pixels of all masks are class 0"),
        ("masks", pictures, gap, {}, "hold 0, 2, 4, but classes are numbered 0, 1, ... without a gap: renumber"),
        (
            "masks",
            pictures,
            gap,
            {"classes": ["a", "b", "c", "d"]},
            "hold 4, but there are 4 classes, 0 to 3: renumber",
        ),
        ("masks", pictures, lambda s, n: noise(s, n, 8, 9) * 10.0**6, {}, "run from 0 to .*: give the numbers"),
        ("masks", pictures, lambda s, n: masks(s, n, 8, 9) * 0 + 3, {"ignore_index": 3}, "all pixels of the training"),
        ("multilabel", pictures, masks, {}, r"shape \(12,\), but several labels an image are rows"),
        ("multilabel", pictures, lambda s, n: masks(s, n, 3), {}, "labels hold 2, but must be rows of 0 and 1"),
        ("multilabel", pictures, lambda s, n: masks(s, n, s, classes=2), {}, "have 2 labels each, test images 3"),
        (
            "multilabel",
            pictures,
            lambda s, n: masks(s, n, 3, classes=2),
            {"classes": ["a", "b"]},
            "names 2 labels, but",
        ),
        ("values", pictures, lambda s, n: masks(s, n, 3, 3), {}, r"values have shape \(12, 3, 3\), but must be \(N,\)"),
        (
            "values",
            pictures,
            lambda s, n: np.where(np.arange(n) < 5, np.inf, 1),
            {},
            "values of 5 of 12 training images are",
        ),
        ("values", pictures, lambda s, n: np.ones((n, 2)), {}, "value 0, value 1 are the same for all training images"),
        ("values", pictures, lambda s, n: np.array(["a"] * n), {}, "training values are <U1, but must be real numbers"),
        (
            "images",
            pictures,
            lambda s, n: noise(s, n, 16, 27),
            {},
            "images are 8 x 9 and their targets 16 x 27: each size",
        ),
        ("images", pictures, lambda s, n: noise(s, n, 12, 13), {}, "or the same whole multiple of it"),
        ("images", pictures, lambda s, n: noise(s, n, 4, 4), {}, "or the same whole multiple of it"),
        (
            "images",
            pictures,
            lambda s, n: noise(s, n, 8, 9) / 255,
            {},
            "images are uint8 and targets float64: give both",
        ),
        ("images", pictures, lambda s, n: pictures(s - 2, n), {}, "targets are the same as the images"),
        ("images", pictures, lambda s, n: noise(s, n, 8, 9), {"data_range": 9}, "run from 0 to 255, outside 0 to 9"),
        ("images", pictures, masks, {}, r"targets are each of shape \(\), which is that of vectors"),
    ],
)
def test_targets_that_do_not_fit_are_refused_in_one_line(
    load: Load, kind: TargetKind, x: Any, y: Any, spec: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=rf"\A[^\n]*{message}[^\n]*\Z"):
        load(kind, both(x, y), **spec)


@pytest.mark.parametrize(
    ("scale", "spec", "message"),
    [
        (lambda a: a / 1.0, {}, "run from 0 to 255, outside 0 to 1, the range of the data, or say data.data_range"),
        (lambda a: a / 127.5 - 1, {}, "run from -1 to 1, outside 0 to 1, .*: bring them to 0 and more"),
        (lambda a: a.astype(np.int32), {}, "data.data_range: say how large a pixel can be, which int32 does not tell"),
    ],
)
def test_the_range_of_images_is_asked_for(load: Load, scale: Any, spec: dict[str, Any], message: str) -> None:
    arrays = both(lambda s, n: scale(pictures(s, n)), lambda s, n: scale(pictures(s, n)))
    with pytest.raises(DataError, match=message):
        load("images", arrays)
    if arrays["x_train"].min() >= 0:
        assert load("images", arrays, data_range=255).data_range == 255


def test_what_is_odd_about_masks_is_noted(load: Load) -> None:
    arrays = both(pictures, lambda s, n: masks(s, n, 8, 9, classes=2))
    arrays["y_train"][3] = arrays["y_train"][5] = 0
    data = load("masks", arrays, classes=["ground", "cat", "dog"], ignore_index=255)
    assert "data.ignore_index = 255, which no pixel of a mask has" in data.notes
    assert "no training mask shows class 'dog'" in data.notes
    assert "2 of 12 training masks show no class but the first: training image 3 for example" in data.notes


def test_a_source_without_such_targets_says_what_it_has() -> None:
    with pytest.raises(DataError, match="data 'digits' has labels, and the task needs masks: choose another source"):
        read_data(DataSpec(source="digits"), "masks")


@pytest.mark.parametrize(("key", "about"), [("ignore_index", "masks"), ("data_range", "images as targets")])
def test_a_key_about_other_targets_is_refused(key: str, about: str) -> None:
    with pytest.raises(DataError, match=rf"data\.{key}: is about {about}, but the task needs labels: leave it out"):
        read_data(DataSpec.model_validate({"source": "digits", key: 1}))


def test_notes_about_targets_are_warnings(load: Load, tmp_path: Path) -> None:
    from slopewise.study.data import load_data

    load("masks", both(pictures, lambda s, n: 255 * masks(s, n, 8, 9, classes=2)))
    with pytest.warns(DataWarning, match="taken for classes 0 and 1"):
        load_data(DataSpec(source=str(tmp_path / "a.npz")), "masks")
