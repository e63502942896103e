"""Built-in data of restoration and segmentation, against their definitions."""

from __future__ import annotations

import socket
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data as pictures
from skimage.measure import block_reduce, label

from slopewise.errors import DataError
from slopewise.study import DataSpec, StudySpec
from slopewise.study.data import ImageData, read_data


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("a source that needs no network asked for it")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def every(images: Any) -> np.ndarray:
    return images[torch.arange(len(images))].numpy()


def patches(**options: Any) -> ImageData:
    return read_data(DataSpec(source="patches", options=options), "images")


def levels(images: Any) -> np.ndarray:
    return np.rint(every(images)[:, 0].astype(np.float64) * 255).astype(np.uint8)


def test_patches_are_averages_of_pieces_of_one_picture_each() -> None:
    data = patches()
    images, targets = levels(data.train_images), levels(data.train_targets)
    for image, target in zip(images[::50], targets[::50], strict=True):
        means = block_reduce(target.astype(np.float64), (2, 2), np.mean)
        assert np.abs(image - means).max() <= 0.5
    camera = pictures.camera()
    pieces = {camera[y : y + 32, x : x + 32].tobytes() for y in range(0, 512, 32) for x in range(0, 512, 32)}
    train, test = ({piece.tobytes() for piece in levels(part)} for part in (data.train_targets, data.test_targets))
    assert len(pieces & train) > 150  # the sky is too flat to be among them
    assert not pieces & test
    cat = np.array(Image.fromarray(pictures.cat()).convert("L"))
    assert cat[:32, :32].tobytes() in test - train
    assert not train & test


def test_noise_has_the_deviation_that_is_asked_for() -> None:
    data = patches(scale=1, noise=10)
    images, targets = levels(data.test_images).astype(float), levels(data.test_targets).astype(float)
    middle = (targets > 60) & (targets < 195)  # where no noise is cut off
    difference = (images - targets)[middle]
    assert difference.std() == pytest.approx(10, rel=0.02)
    assert abs(difference.mean()) < 0.1
    assert patches(scale=4, noise=3).facts()["shape"] == [1, 8, 8]


@pytest.mark.parametrize("dimensions", [2, 3])
def test_shapes_stand_out_from_the_ground_and_vary(dimensions: int) -> None:
    data = read_data(DataSpec(source="shapes", options={"dimensions": dimensions}), "masks")
    masks = every(data.train_targets)
    assert masks.ndim == dimensions + 1
    assert {0, 1, 2} == set(np.unique(masks))
    counted = [label(mask > 0, return_num=True)[1] for mask in masks[:200]]
    assert set(counted) <= {1, 2, 3}  # none is empty
    assert len(set(counted)) > 1
    assert not data.notes
    # Shapes are 0.1 to 0.3 lighter or darker than the ground: their pixels vary more among images than the ground's.
    images = every(data.train_images)[:, 0]
    shown = [abs(image[mask > 0].mean() - image[mask == 0].mean()) for image, mask in zip(images, masks, strict=True)]
    assert np.median(shown) > 0.5


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        ("patches", {"scale": 3}, "data.options.scale: 1, 2 or 4, not 3"),
        ("patches", {"noise": -1}, "data.options.noise: levels from 0 to 255, not -1"),
        ("patches", {"noise": "a"}, "data.options.noise: levels from 0 to 255, not 'a'"),
        ("patches", {"scale": 1}, "there is nothing to restore"),
        ("patches", {"nois": 1}, "'nois' is no option of patches; .*noise"),
        ("shapes", {"dimensions": 4}, "data.options.dimensions: 2 or 3, not 4"),
        ("shapes", {"size": 4}, "'size' is no option of shapes"),
    ],
)
def test_options_that_do_not_exist_are_refused(source: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_data(DataSpec(source=source, options=options), "images" if source == "patches" else "masks")


@pytest.mark.parametrize(
    ("fields", "source"),
    [
        ({"task": {"kind": "restoration"}}, "patches"),
        ({"task": {"kind": "segmentation"}, "data": {"train_size": 9}}, "shapes"),
        ({"task": {"kind": "segmentation"}, "data": DataSpec(train_size=9)}, "shapes"),
        ({"task": {"kind": "segmentation"}, "data": {"source": "digits"}}, "digits"),
        ({"task": {"kind": "segmentation"}, "data": DataSpec(source="digits")}, "digits"),
        ({"task": {"kind": "regression"}}, "digits"),
        ({}, "digits"),
    ],
)
def test_a_task_brings_its_data_unless_the_spec_names_some(fields: dict[str, Any], source: str) -> None:
    assert StudySpec.model_validate(fields).data.source == source
