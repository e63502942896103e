"""The digits, which are read without scikit-learn's imports."""

import pytest
import torch
from sklearn.datasets import load_digits

from slopewise.study import StudySpec
from slopewise.study.data import load_data


@pytest.mark.parametrize("file", ["in its place", "elsewhere"])
def test_digits_are_those_of_scikit_learn(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if file == "elsewhere":
        monkeypatch.setattr("importlib.metadata.Distribution.locate_file", lambda _self, path: f"/nowhere/{path}")
    data, digits = load_data(StudySpec().data), load_digits()
    images = torch.cat([data.train_images.pixels.flatten(1), data.test_images.pixels.flatten(1)])
    labels = torch.cat([data.train_targets[torch.arange(989)], data.test_targets[torch.arange(808)]])

    def rows(pixels: torch.Tensor, numbers: torch.Tensor) -> list[list[float]]:
        return sorted(torch.cat([pixels.double(), numbers.double()[:, None]], 1).tolist())

    assert rows(images, labels) == rows(torch.tensor(digits.data), torch.tensor(digits.target))
