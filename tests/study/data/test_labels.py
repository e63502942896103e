"""Labels: forms that are classes, and forms that are refused."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from slopewise.errors import DataError
from slopewise.study.data import class_numbers


@given(st.lists(st.integers(0, 5), min_size=1, max_size=20))
def test_every_form_of_the_same_labels_is_read_the_same(labels: list[int]) -> None:
    plain = torch.tensor(labels)
    forms = [
        np.array(labels, np.uint8),
        np.array(labels, ">i4"),
        np.array(labels, np.float32)[:, None],
        np.array([f"c{k}" for k in labels]),
        np.array([f"c{k}".encode() for k in labels], object),
        plain.to(torch.bfloat16),
        torch.nn.functional.one_hot(plain, 6).to(torch.float64),
    ]
    for form in forms:
        assert torch.equal(class_numbers(form, "labels", [f"c{k}" for k in range(6)]), plain)


def test_booleans_are_two_classes() -> None:
    assert class_numbers(np.array([True, False]), "labels", None).tolist() == [1, 0]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.array([0.5, 1]), "are float64 such as 0.5, but must be integers"),
        (torch.tensor([1.0, torch.nan]), "are float32 such as nan"),
        (np.array([[1, 0, 1], [0, 1, 0]]), r"shape \(2, 3\).*several labels for multilabel"),
        (np.zeros((2, 8, 8), int), r"shape \(2, 8, 8\).*segmentation"),
        (np.array([0, None]), "not all numbers \\(one is None\\)"),
        (np.array(["cat", "dog"]), r"are text \('cat', 'dog', ...\).*data\.classes"),
        (np.array([1j]), "are complex128, but must be integers"),
        (np.array(["2020-01-01"], "M8[D]"), "are datetime64"),
    ],
)
def test_labels_that_are_no_classes_are_refused(labels: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        class_numbers(labels, "labels", None)


def test_text_that_is_no_class_is_named() -> None:
    with pytest.raises(DataError, match=r"data\.classes: there are labels 'dgo'; did you mean 'dog'\?"):
        class_numbers(np.array(["cat", "dgo"]), "labels", ["cat", "dog"])
