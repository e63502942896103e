"""Gains where channels are concatenated, flattened, added or picked apart, and where layers are called twice."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import slopewise as sw
from slopewise import init

from .reports import gains, stds


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.down, self.deep = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 12, 3, padding=1)
        self.up, self.last = nn.ConvTranspose2d(12, 12, 2, 2), nn.Conv2d(16, 2, 1)
        self.a, self.b, self.c = sw.PReLU(4, 0.5), nn.ReLU(), sw.PReLU(12, 2.0)

    def forward(self, x):
        skip = self.a(self.down(x))
        deep = self.b(self.deep(F.max_pool2d(skip, 2)))
        return self.last(torch.cat([skip, self.c(self.up(deep))], dim=1))


@pytest.mark.parametrize("example", [None, torch.zeros(1, 1, 8, 8)], ids=["graph", "example"])
def test_concatenated_channels_count_by_their_number(example):
    report = init.kaiming(UNet(), example)
    assert gains(report) == {
        "down": 1.0,
        "deep": math.sqrt(2 / 1.25),
        "up": math.sqrt(2),
        "last": math.sqrt(16 / (4 * 1.25 / 2 + 12 * 5 / 2)),
    }
    assert report.layers[-1].neighbours == ("a (PReLU)", "c (PReLU)")
    # Behind `down` stand `deep` and `last`, by way of the same activation: gradients add up.
    report = init.kaiming(UNet(), example, mode="fan_out")
    assert report.layers[0].gain[0] == pytest.approx((2 * 1.25 / 2) ** -0.5)
    assert report.layers[1].gain[0] == pytest.approx(math.sqrt(2))
    assert report.layers[2].gain[0] == pytest.approx((5 / 2) ** -0.5)


class Collecting(nn.Module):
    """As segmentation networks for small devices do: the picture itself goes in again, beside what was made of it."""

    def __init__(self):
        super().__init__()
        self.stem, self.act, self.pool = nn.Conv2d(3, 4, 2, 2), sw.PReLU(4, [0.0, 1.0, 0.0, 1.0]), nn.AvgPool2d(2)
        self.head = nn.Conv2d(7, 5, 1)

    def forward(self, x):
        features = torch.tensor([])
        for part in (self.pool(x), self.act(self.stem(x))):
            features = torch.cat([features, part], 1)
        return self.head(features)


def test_the_image_itself_counts_by_its_channels_in_a_concatenation():
    """No layer stands before it to tell where its channels are; its shape does."""
    example = torch.zeros(2, 3, 8, 8)
    assert gains(init.kaiming(Collecting(), example))["head"] == math.sqrt(7 / (3 + 2 / 2 + 2))
    assert gains(init.kaiming(Collecting(), example, mode="fan_out"))["stem"] == math.sqrt(4 / (4 * (1 / 2 + 1) / 2))


def test_flattening_repeats_channels_or_goes_round_them():
    slopes = [0.0, 1.0]
    tail = nn.Conv1d(8, 2, 1, groups=2)  # tells the first half of the features from the second
    images = nn.Sequential(
        nn.Conv2d(1, 2, 1), sw.PReLU(2, slopes), nn.MaxPool2d(2), nn.Flatten(), nn.Unflatten(1, (8, 1)), tail
    )
    for example in (None, torch.zeros(2, 1, 4, 4)):
        low, high = init.kaiming(images, example).layers[1].std
        assert (low, high) == pytest.approx((4**-0.5, 2**-0.5))
    tokens = nn.Sequential(
        nn.Linear(3, 2), sw.PReLU(2, slopes, channel_dim=-1), nn.Flatten(), nn.Unflatten(1, (8, 1)), tail
    )
    assert init.kaiming(tokens, torch.zeros(5, 4, 3)).layers[1].std == pytest.approx((3**-0.5, 3**-0.5))


class Residual(nn.Module):
    def __init__(self, inplace):
        super().__init__()
        self.inplace = inplace
        self.stem, self.branch, self.head = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x):
        x = self.stem(x)
        y = self.branch(F.relu(x, inplace=self.inplace))
        y += x
        return self.head(y)


@pytest.mark.parametrize("example", [None, torch.zeros(2, 4)], ids=["graph", "example"])
def test_sums_add_second_moments_and_what_is_changed_in_place_counts_as_changed(example):
    assert gains(init.kaiming(Residual(inplace=False), example))["head"] == 2**-0.5
    assert gains(init.kaiming(Residual(inplace=True), example))["head"] == 1.5**-0.5
    out = init.kaiming(Residual(inplace=False), example, mode="fan_out")
    # The stem's output meets the head through the sum, and through ReLU the branch.
    assert gains(out)["stem"] == 1.5**-0.5
    assert gains(out)["branch"] == 1.0


def test_means_count_where_rectified_values_are_added():
    class Sum(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.head = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x):
            return self.head(F.relu(self.a(x)) + F.relu(self.b(x)) - 1)

    mean, variance = 2 / math.sqrt(2 * math.pi) - 1, 2 * (0.5 - 1 / (2 * math.pi))
    assert gains(init.kaiming(Sum()))["head"] == (mean**2 + variance) ** -0.5


def test_channels_that_are_picked_apart():
    class Gate(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.act, self.head = nn.Linear(4, 8), sw.PReLU(8, [0.0] * 4 + [1.0] * 4), nn.Linear(4, 4)

        def forward(self, x):
            value, gate = self.act(self.body(x)).chunk(2, 1)
            return self.head(value * gate)

    for example in (None, torch.zeros(2, 4)):  # each half is taken to be as all channels are: second moment 3/4
        assert gains(init.kaiming(Gate(), example))["head"] == 4 / 3


def test_layers_called_twice_or_sharing_a_weight_get_the_mean():
    shared = nn.Linear(6, 6)
    twin = nn.Linear(6, 6)
    twin.weight = shared.weight
    model = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), shared, sw.PReLU(6, 2.0), shared, nn.Identity(), twin)
    report = init.kaiming(model)
    first = (6 / 2 + 6 * 5 / 2) / 2  # the two calls of the one
    assert stds(report)["2"] == stds(report)["6"] == pytest.approx([((first + 6) / 2) ** -0.5] * 2)
    assert report.layers[1].notes == ("called 2 times, initialised for the mean", "its weight is also that of 6")
    assert torch.equal(twin.weight, shared.weight)
