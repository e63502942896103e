"""Trials of a cell with fewer training images than the study loads."""

import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from slopewise.errors import SpecError
from slopewise.study import StudySpec, parse_spec, run_trial
from slopewise.study._preflight import _rehearse
from slopewise.study._streams import stream
from slopewise.study._training_part import training_part
from slopewise.study.data import ImageData, load_data, stratified_split


def tiny(size: int | None = None, **fields: object) -> StudySpec:
    return parse_spec(
        {"data": {"train_size": size}, "train": {"epochs": 1, "batch_size": 16}, "model": {"options": {"width": 2}}}
        | {"seeds": 2, **fields}
    )


@pytest.fixture(scope="module")
def data() -> ImageData:
    return load_data(tiny().data)


def test_the_studys_own_size_changes_nothing(data: ImageData) -> None:
    for spec in (tiny(), tiny(len(data.train_targets))):
        kept, held_out = training_part(spec, data, 3)
        expected = stratified_split(data.train_targets, 0.15, stream(3, "split"))
        assert torch.equal(kept, expected[0])
        assert torch.equal(held_out, expected[1])


@given(small=st.integers(20, 800), more=st.integers(0, 100), seed=st.integers(0, 9))
def test_smaller_parts_are_balanced_and_within_larger_ones(data: ImageData, small: int, more: int, seed: int) -> None:
    whole, held_out = training_part(tiny(), data, seed)
    parts = [training_part(tiny(size), data, seed) for size in (small, small + more)]
    for size, (kept, validation) in zip((small, small + more), parts, strict=True):
        assert len(kept) == round(size * 0.85)
        counts = torch.bincount(data.train_targets[kept], minlength=10)
        assert counts.max() - counts.min() <= 1
        assert torch.equal(kept, kept.unique())
        assert set(kept.tolist()) <= set(whole.tolist())
        assert torch.equal(validation, held_out)
    assert set(parts[0][0].tolist()) <= set(parts[1][0].tolist())


def test_other_seeds_take_other_images(data: ImageData) -> None:
    assert not torch.equal(training_part(tiny(100), data, 0)[0], training_part(tiny(100), data, 1)[0])


def test_a_trial_trains_on_its_part_and_validates_on_the_whole_one(data: ImageData) -> None:
    whole, small = (run_trial(tiny(size, arms="relu"), "relu", 0, data) for size in (None, 100))
    assert (whole.steps, small.steps) == (840 // 16, 85 // 16)
    assert whole.score("validation", "loss", 0) == small.score("validation", "loss", 0)
    assert whole.init_digest == small.init_digest
    assert whole.data_digest != small.data_digest


def test_values_are_drawn_uniformly() -> None:
    spec = tiny(task={"kind": "segmentation"}, data={"source": "shapes", "train_size": 60}, margin=1)
    data = load_data(spec.data, "masks")
    smaller = spec.model_copy(update={"data": spec.data.model_copy(update={"train_size": 40})})
    (kept, held_out), (whole, all_held_out) = (training_part(each, data, 0) for each in (smaller, spec))
    assert (len(kept), len(whole)) == (34, 51)
    assert set(kept.tolist()) < set(whole.tolist())
    assert torch.equal(held_out, all_held_out)


@pytest.mark.parametrize(
    ("size", "batch", "message"),
    [
        (20, 64, "train.batch_size: 64 images, but data.train_size = 20 leaves only 17 to train on"),
        (2000, 64, "data.train_size: 2000 images, but the study loads only 989 training images"),
        (
            988,
            64,
            "data.train_size: 988 leaves 840 images to train on, as many of each class, but the smallest",
        ),
    ],
)
def test_a_size_that_cannot_be_is_an_error_before_the_first_trial(
    data: ImageData, size: int, batch: int, message: str
) -> None:
    spec = tiny(size, train={"batch_size": batch})
    with pytest.raises(SpecError, match=re.escape(message)):
        _rehearse(spec, spec.arms[0], data)


def test_the_largest_size_that_is_named_will_do(data: ImageData) -> None:
    with pytest.raises(SpecError) as caught:
        training_part(tiny(988), data, 0)
    most = int(str(caught.value).rpartition(" ")[2])
    training_part(tiny(most), data, 0)
    with pytest.raises(SpecError):
        training_part(tiny(most + 2), data, 0)
