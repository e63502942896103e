"""Checks across all images, and arrays of an .npz file under other names."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from slopewise.errors import DataError
from slopewise.study import DataSpec
from slopewise.study.data import RawData, load_data, read_data
from slopewise.study.data._checks import check_pixels


def raw(train: np.ndarray, test: np.ndarray) -> RawData:
    labels = [torch.arange(len(part)) % 2 for part in (train, test)]
    return RawData(torch.from_numpy(train), labels[0], torch.from_numpy(test), labels[1], ("a", "b"))


def noise(seed: int, count: int, *, low: float = 0.0, high: float = 1.0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(low, high, (count, 2, 8, 8)).astype(np.float32)


def test_plain_images_get_no_note() -> None:
    assert check_pixels(raw(noise(0, 40), noise(1, 10))) == []
    assert check_pixels(raw(noise(0, 40), noise(1, 10, high=0.7))) == []  # darker, not on another scale


@pytest.mark.parametrize(("low", "high"), [(-1, 1), (0, 2), (0.5, 1.5), (0, 0.5)])
def test_parts_on_other_scales_get_a_note(low: float, high: float) -> None:
    (note,) = check_pixels(raw(noise(0, 40), noise(1, 10, low=low, high=high)))
    assert "training and test images are on different scales" in note


@given(st.sampled_from([255.0, 1 / 255, 65535.0, 257.0, 100.0]))
def test_parts_that_no_light_can_explain_are_refused(factor: float) -> None:
    with pytest.raises(DataError, match="bring both to one"):
        check_pixels(raw(noise(0, 40), noise(1, 10) * np.float32(factor)))


def test_images_unlike_the_rest_are_counted() -> None:
    train = noise(0, 40) * 255
    train[7:10] /= 255
    (note,) = check_pixels(raw(train, noise(1, 10) * 255))
    assert note.startswith("3 of 40 training images are on another scale than the rest: training image 7 runs from 0.0")


def test_constants_are_refused_or_counted() -> None:
    train, test = noise(0, 40), noise(1, 10)
    with pytest.raises(DataError, match="all pixels of all training images are the constant 7"):
        check_pixels(raw(np.full_like(train, 7), test))
    with pytest.raises(DataError, match="all pixels of all test images are the constant 0"):
        check_pixels(raw(train, np.zeros_like(test)))
    train[3:6], train[:, 1] = train[3:6, :, :1, :1], 1
    constant, channel = check_pixels(raw(train, test))
    assert constant.startswith("3 of 40 training images are constant")
    assert constant.endswith("equal: training image 3 for example")
    named = replace(raw(train, test), names=([f"{i}.png" for i in range(40)], [""] * 10))
    assert check_pixels(named)[0].endswith("'3.png' for example")
    assert channel == "channels 1 (from 0) of 2 are constant over all training images"


@pytest.mark.parametrize("dtype", [np.uint16, np.uint8, np.int32, np.float64, np.float16, bool])
def test_any_number_type_is_looked_at(dtype: Any) -> None:
    train, test = (noise(seed, 30, high=2).astype(np.uint8).astype(dtype) for seed in (0, 1))
    test[4] = train[6]  # of the same class
    (note,) = check_pixels(raw(train, test))
    assert note == "1 of 30 test images are identical to training images: test image 4 and training image 6"


def test_identical_images_are_counted_across_classes_and_parts() -> None:
    train, test = noise(0, 40), noise(1, 10)
    train[5] = train[10] = train[12]
    train[20] = train[22]  # twice in one class harms nothing
    (note,) = check_pixels(raw(train, test))
    assert note.startswith("3 images are identical to one of another class: training image 5 of class 'b' and ")
    test[0] = test[2] = train[0]
    assert check_pixels(raw(train, test))[1].startswith("2 of 10 test images are identical to training images")


# .npz under other names

Names = tuple[str, str, str, str]


def archive(path: Path, names: Names, **more: np.ndarray) -> Path:
    values = [noise(0, 20), np.arange(20)[:, None] % 2, noise(1, 6), np.arange(6)[:, None] % 2]
    np.savez(path, **dict(zip(names, values, strict=True)), **more)
    return path


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Any]:
    def read(*names: str, layout: str = "CHW", **more: np.ndarray) -> Any:
        path = archive(tmp_path / "a.npz", names, **more)  # type: ignore[arg-type]
        return read_data(DataSpec.model_validate({"source": str(path), "layout": layout}))

    return read


@pytest.mark.parametrize(
    "names",
    [
        ("X_train", "y_train", "X_test", "y_test"),
        ("train_images", "train_labels", "test_images", "test_labels"),
        ("trainX", "trainY", "testX", "testY"),
        ("training_data", "training_targets", "testing_data", "testing_targets"),
        ("imgs-train", "label-train", "imgs-test", "label-test"),
        ("Xtr", "Ytr", "Xte", "Yte"),
    ],
)
def test_arrays_are_known_by_any_usual_name(read: Callable[..., Any], names: Names) -> None:
    data = read(*names)
    assert (len(data.train_targets), len(data.test_targets), data.notes) == (20, 6, ())


def test_other_arrays_are_left_out_with_a_note(read: Callable[..., Any]) -> None:
    data = read(
        "train_images", "train_labels", "test_images", "test_labels", val_images=noise(2, 4), val_labels=np.arange(4)
    )
    assert data.notes[0].startswith("arrays val_images, val_labels of ")


def test_one_pair_of_arrays_gives_a_fifth_of_each_class_to_the_test(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", X=noise(0, 30), y=np.arange(30) % 3)
    data = load_data(DataSpec(source=str(tmp_path / "a.npz"), layout="CHW"))
    assert data.train_targets.bincount().tolist() == [8, 8, 8]
    assert data.test_targets.bincount().tolist() == [2, 2, 2]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"train_images": 1, "train_labels": 1, "val_images": 1}, "has no array x_test"),
        ({"x_train": 1, "X_train": 1, "y_train": 1, "x_test": 1, "y_test": 1}, "has x_train and X_train, either of"),
        (
            {"x": np.array([None, 1], object), "y": np.arange(2)},
            "array x of .* cannot be read .*images of several sizes",
        ),
        ({"x": np.array(["a", "b"]), "y": np.arange(2)}, "training images are <U1, but must be real numbers"),
        ({"x": noise(0, 4), "y": np.arange(3)}, "4 images but 3 labels"),
        ({"x": noise(0, 8), "y": np.arange(8) % 2 + 1}, "no training image of class '0'.*subtract 1 from the labels"),
        ({"x": noise(0, 8)[..., None, None, None], "y": np.arange(8) % 2}, "videos or more"),
    ],
)
def test_archives_that_cannot_be_read_say_why(tmp_path: Path, content: dict[str, Any], message: str) -> None:
    np.savez(tmp_path / "a.npz", **content)
    with pytest.raises(DataError, match=message):
        load_data(DataSpec(source=str(tmp_path / "a.npz"), layout="auto" if "videos" in message else "CHW"))


def test_volumes_are_images_too(tmp_path: Path) -> None:
    volumes, labels = np.random.default_rng(0).random((12, 6, 10, 11)), np.arange(12) % 2
    np.savez(tmp_path / "a.npz", x_train=volumes[:8], y_train=labels[:8], x_test=volumes[8:], y_test=labels[8:])
    data = load_data(DataSpec(source=str(tmp_path / "a.npz"), layout="DHW"))
    assert data.facts()["shape"] == [1, 6, 10, 11]
    expected = (volumes[:8] - volumes[:8].mean()) / volumes[:8].std()
    assert np.allclose(data.train_images[torch.arange(8)][:, 0].numpy(), expected, atol=1e-5)
