"""Subsets and splits: their laws."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from slopewise.errors import DataError
from slopewise.study.data import balanced_subset, stratified_split

labels_lists = st.lists(st.integers(0, 3), min_size=8, max_size=60)


@given(labels_lists, st.floats(0.05, 0.9), st.integers(0, 5))
def test_a_split_parts_every_class_by_the_same_fraction(labels: list[int], fraction: float, seed: int) -> None:
    tensor = torch.tensor(labels)
    training, held_out = stratified_split(tensor, fraction, torch.Generator().manual_seed(seed))
    assert sorted(training.tolist() + held_out.tolist()) == list(range(len(labels)))
    for k in set(labels):
        members, validated = labels.count(k), int((tensor[held_out] == k).sum())
        assert validated == min(round(fraction * members), members - 1)


@given(labels_lists, st.integers(1, 30), st.integers(0, 5))
def test_a_subset_has_as_many_of_each_class(labels: list[int], size: int, seed: int) -> None:
    tensor = torch.tensor(labels)
    classes = max(labels) + 1
    if min(labels.count(k) for k in range(classes)) * classes < size:
        fewest = min(labels.count(k) for k in range(classes))
        if fewest * classes + classes - 1 < size:
            with pytest.raises(DataError, match=r"data\.train_size"):
                balanced_subset(tensor, size, torch.Generator().manual_seed(seed))
        return
    chosen = balanced_subset(tensor, size, torch.Generator().manual_seed(seed))
    assert len(set(chosen.tolist())) == size
    counts = tensor[chosen].bincount(minlength=classes)
    assert counts.max() - counts.min() <= 1


def test_splits_depend_on_the_stream_alone() -> None:
    labels = torch.arange(100) % 5
    first, again, other = (stratified_split(labels, 0.2, torch.Generator().manual_seed(s))[1] for s in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
