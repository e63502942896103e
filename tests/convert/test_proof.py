"""The evidence of a conversion: what it compares, and what it must not miss."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import slopewise as sw

X = torch.randn(4, 3, 6, 6, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


class Tied(nn.Module):
    """One PReLU with two names, at two places, for 4 and for 6 channels."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2, self.act = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 6, 3), nn.PReLU()
        self.alias = self.act

    def forward(self, x):
        return self.alias(self.conv2(self.act(self.conv1(x))))


@pytest.mark.parametrize("call_sites", ["separate", "shared"])
def test_the_gradient_of_a_slope_that_is_many_now_is_the_sum_of_theirs(call_sites):
    to = "prelu_channel" if call_sites == "separate" else "prelu_shared"
    conversion = sw.convert(Tied(), X, to=to, call_sites=call_sites)
    assert conversion.proof.gradient.relative < 1e-6
    assert conversion.added == (9 if call_sites == "separate" else 0)


def test_a_wrong_gradient_of_one_slope_of_many_is_detected():
    class Halved(sw.PReLU):
        def forward(self, x):
            slope = (self.weight + self.weight.detach()) / 2
            return sw.nn.functional.prelu(x, slope)

    given = nn.Sequential(nn.Conv2d(3, 4, 3), nn.PReLU())
    proof = sw.convert(given, X, to=Halved).proof
    assert proof.output.largest == 0
    assert proof.gradient.relative > 0.01


def test_the_converted_start_is_compared_by_itself():
    given = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU6(inplace=True))
    for fuse in (False, True):
        proof = sw.convert(given, 100 * X, init=0.0, fuse=fuse).proof
        assert proof.output.relative < 1e-6
        assert proof.start.largest > 1
        assert (proof.exact, proof.others) == (0, 1)
