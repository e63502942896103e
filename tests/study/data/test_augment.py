"""Augmentation against a loop over images, and its laws."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from slopewise.study import AugmentSpec
from slopewise.study.data import Augment


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@settings(deadline=None, max_examples=30)
@given(
    st.integers(1, 5), st.integers(1, 3), st.integers(4, 9), st.integers(4, 9), st.integers(1, 3), st.integers(0, 99)
)
def test_every_image_is_shifted_by_some_offset_with_its_edges_repeated(
    batch: int, channels: int, height: int, width: int, most: int, seed: int
) -> None:
    images = torch.rand(batch, channels, height, width, generator=generator(seed))
    shifted = Augment(most, flip=False, erase=0.0)(images, generator(seed))
    for before, after in zip(images, shifted, strict=True):
        candidates = []
        for down in range(-most, most + 1):
            for right in range(-most, most + 1):
                rows = (torch.arange(height) + down).clamp(0, height - 1)
                columns = (torch.arange(width) + right).clamp(0, width - 1)
                candidates.append(before[:, rows][:, :, columns])
        assert any(torch.equal(after, candidate) for candidate in candidates)


def test_all_shifts_are_equally_likely() -> None:
    images = torch.zeros(9000, 1, 5, 5)
    images[:, :, 2, 2] = 1
    shifted = Augment(1, flip=False, erase=0.0)(images, generator())
    counts = shifted.sum(dim=0)[0, 1:4, 1:4].flatten()
    assert counts.sum() == 9000
    chi_square = ((counts - 1000) ** 2 / 1000).sum().item()
    assert chi_square < 26.1  # the 0.999 quantile of chi-square with 8 degrees of freedom


def test_a_flip_mirrors_about_half_the_images() -> None:
    images = torch.rand(2000, 1, 3, 4)
    flipped = Augment(0, flip=True, erase=0.0)(images, generator())
    mirrored = (flipped == images.flip(3)).flatten(1).all(dim=1)
    unflipped = (flipped == images).flatten(1).all(dim=1)
    assert (mirrored ^ unflipped).all()
    assert 900 < mirrored.sum() < 1100


def test_erasing_sets_one_rectangle_of_some_images_to_the_mean() -> None:
    images = torch.ones(2000, 2, 16, 16)
    erased = Augment(0, flip=False, erase=0.5)(images, generator())
    holes = erased == 0
    touched = holes.flatten(1).any(dim=1)
    assert 850 < touched.sum() < 1100
    assert torch.equal(holes[:, 0], holes[:, 1])
    for hole in holes[touched][:100, 0]:
        rows, columns = hole.any(dim=1), hole.any(dim=0)
        assert torch.equal(hole, rows[:, None] & columns[None])  # a rectangle
        assert 0 < hole.float().mean() < 0.45


def test_nothing_asked_nothing_drawn() -> None:
    images, stream = torch.rand(4, 1, 8, 8), generator()
    before = stream.get_state()
    assert torch.equal(Augment(0, flip=False, erase=0.0)(images, stream), images)
    assert torch.equal(stream.get_state(), before)


@pytest.mark.parametrize(
    ("spec", "advice", "expected"),
    [
        (AugmentSpec(), False, Augment(1, flip=False, erase=0.0)),
        (AugmentSpec(), True, Augment(1, flip=True, erase=0.0)),
        (AugmentSpec(shift=0, flip=False, erase=0.2), True, Augment(0, flip=False, erase=0.2)),
    ],
)
def test_what_the_spec_leaves_open_the_data_decide(spec: AugmentSpec, advice: bool, expected: Augment) -> None:
    assert Augment.resolve(spec, height=8, flip=advice) == expected
