"""Augmentation against a loop over images, and its laws."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from slopewise.study import AugmentSpec
from slopewise.study.data import Augment, TargetKind


def changed(augment: Augment, images: torch.Tensor, stream: torch.Generator) -> torch.Tensor:
    labels = torch.arange(len(images))
    images, same = augment(images, labels, stream)
    assert torch.equal(same, labels)
    return images


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
    shifted = changed(Augment(most, flip=False, erase=0.0), images, generator(seed))
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
    shifted = changed(Augment(1, flip=False, erase=0.0), images, generator())
    counts = shifted.sum(dim=0)[0, 1:4, 1:4].flatten()
    assert counts.sum() == 9000
    chi_square = ((counts - 1000) ** 2 / 1000).sum().item()
    assert chi_square < 26.1  # the 0.999 quantile of chi-square with 8 degrees of freedom


def test_a_flip_mirrors_about_half_the_images() -> None:
    images = torch.rand(2000, 1, 3, 4)
    flipped = changed(Augment(0, flip=True, erase=0.0), images, generator())
    mirrored = (flipped == images.flip(3)).flatten(1).all(dim=1)
    unflipped = (flipped == images).flatten(1).all(dim=1)
    assert (mirrored ^ unflipped).all()
    assert 900 < mirrored.sum() < 1100


def test_erasing_sets_one_rectangle_of_some_images_to_the_mean() -> None:
    images = torch.ones(2000, 2, 16, 16)
    erased = changed(Augment(0, flip=False, erase=0.5), images, generator())
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
    assert torch.equal(changed(Augment(0, flip=False, erase=0.0), images, stream), images)
    assert torch.equal(stream.get_state(), before)


@pytest.mark.parametrize(
    ("spec", "advice", "expected"),
    [
        (AugmentSpec(), False, Augment(1, flip=False, erase=0.0)),
        (AugmentSpec(), True, Augment(1, flip=True, erase=0.0)),
        (AugmentSpec(shift=0, flip=False, erase=0.2), True, Augment(0, flip=False, erase=0.2)),
    ],
)
def test_the_data_decide_settings_that_the_spec_leaves_open(spec: AugmentSpec, advice: bool, expected: Augment) -> None:
    assert Augment.resolve(spec, height=8, flip=advice) == expected


def by_numpy(array: np.ndarray, down: int, right: int, mirrored: bool) -> np.ndarray:
    """The pixels (..., H, W) of an image moved by whole pixels, edges repeated, and then mirrored."""
    height, width = array.shape[-2:]
    rows, columns = np.clip(np.arange(height) + down, 0, height - 1), np.clip(np.arange(width) + right, 0, width - 1)
    moved = array[..., rows, :][..., columns]
    return moved[..., ::-1] if mirrored else moved


@settings(deadline=None, max_examples=40)
@given(
    kind=st.sampled_from(["masks", "images"]),
    batch=st.integers(1, 4),
    size=st.tuples(st.integers(3, 8), st.integers(3, 8)),
    depth=st.integers(0, 3),
    factor=st.integers(1, 3),
    most=st.integers(0, 2),
    flip=st.booleans(),
    seed=st.integers(0, 99),
)
def test_image_and_target_move_together(
    kind: TargetKind,
    batch: int,
    size: tuple[int, int],
    depth: int,
    factor: int,
    most: int,
    flip: bool,
    seed: int,
) -> None:
    spatial = ((depth,) if depth else ()) + size
    images = torch.rand(batch, 2, *spatial, generator=generator(seed))
    larger = tuple(factor * side for side in spatial)
    targets = (
        torch.randint(0, 3, (batch, *spatial), generator=generator(seed))
        if kind == "masks"
        else torch.rand(batch, 1, *larger, generator=generator(seed))
    )
    after, moved = Augment(most, flip=flip, erase=0.0, kind=kind)(images, targets, generator(seed))
    scale = 1 if kind == "masks" else factor
    offsets = range(-most, most + 1)
    for n in range(batch):
        changes = [
            change
            for change in ((down, right, side) for down in offsets for right in offsets for side in {False, flip})
            if np.array_equal(by_numpy(images[n].numpy(), *change), after[n].numpy())
        ]
        assert any(
            np.array_equal(by_numpy(targets[n].numpy(), scale * down, scale * right, side), moved[n].numpy())
            for down, right, side in changes
        )


@pytest.mark.parametrize("kind", ["labels", "multilabel", "values", "masks", "images"])
def test_the_kind_of_targets_changes_nothing_about_the_images(kind: TargetKind) -> None:
    images, labels = torch.rand(6, 1, 8, 8), torch.arange(6)
    targets = {"masks": images[:, 0].round().long(), "images": images}.get(kind, labels)
    with_labels, _ = Augment(1, flip=True, erase=0.0)(images, labels, generator())
    with_targets, after = Augment(1, flip=True, erase=0.0, kind=kind)(images, targets, generator())
    assert torch.equal(with_labels, with_targets)
    assert torch.equal(after, targets) == (kind not in ("masks", "images"))


@pytest.mark.parametrize("kind", ["masks", "images"])
def test_erasing_leaves_the_target(kind: TargetKind) -> None:
    images = torch.rand(50, 2, 16, 16) + 1
    targets = images if kind == "images" else images[:, 0].long()
    erased, after = Augment(0, flip=False, erase=1.0, kind=kind)(images, targets, generator())
    assert torch.equal(after, targets)
    holes = erased != images
    assert holes.flatten(1).any(dim=1).all()
    mean = images.mean(dim=(2, 3), keepdim=True).expand_as(images) if kind == "images" else torch.zeros_like(images)
    assert torch.equal(erased[holes], mean[holes])
