"""The dimension of channels, shown not by a layer of PyTorch's but by numbers for each channel."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn

import slopewise as sw
from slopewise.convert import ConversionWarning


class Scaled(nn.Module):
    def __init__(self, shape, divide=False):
        super().__init__()
        self.register_buffer("scale", torch.rand(shape) + 0.5)
        self.act, self.divide = nn.ReLU(), divide

    def forward(self, x):
        return self.act(x / self.scale if self.divide else self.scale * x)


@pytest.mark.parametrize(
    ("shape", "size", "divide"),
    [((1, 5, 1, 1), (2, 5, 4, 3), False), ((5, 1, 1), (2, 5, 4, 3), True), ((1, 5, 1), (2, 5, 4), False)],
)
def test_constants_of_each_channel_tell_where_these_are(shape, size, divide):
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConversionWarning)
        (site,) = sw.convert(Scaled(shape, divide), torch.randn(size)).sites
    assert (site.channel_dim, site.slopes, site.evidence) == (1, 5, "div()" if divide else "mul()")


@pytest.mark.parametrize("shape", [(4,), (4, 1), (1,), (2, 1, 1, 1)])
def test_constants_along_other_dimensions_do_not(shape):
    x = torch.randn(2, 3, 4, 4)
    with pytest.warns(ConversionWarning, match="nothing tells"):
        (site,) = sw.convert(Scaled(shape), x).sites
    assert site.evidence == "assumed"
