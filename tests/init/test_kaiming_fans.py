"""Fans of every kind of layer, and the distributions drawn at the scale that follows."""

import pytest
import torch
from scipy import stats
from torch import nn

import slopewise as sw
from slopewise import init


@pytest.mark.parametrize(
    ("layer", "fan_in", "fan_out"),
    [
        (nn.Conv1d(4, 6, 5, stride=2), 4 * 5, 6 * 5 / 2),
        (nn.Conv2d(4, 6, (3, 5), groups=2), 2 * 15, 3 * 15),
        (nn.Conv2d(4, 6, 1, stride=2), 4, 6),  # places that no window looks at do not count
        (nn.Conv3d(4, 6, 3, dilation=2), 4 * 27, 6 * 27),
        (nn.ConvTranspose1d(4, 6, 5), 4 * 5, 6 * 5),
        (nn.ConvTranspose2d(4, 6, 4, stride=2), 4 * 16 / 4, 6 * 16),
        (nn.ConvTranspose2d(4, 6, 3, stride=2, groups=2), 2 * 9 / 4, 3 * 9),
        (nn.Linear(4, 6), 4, 6),
    ],
)
def test_fans(layer, fan_in, fan_out):
    for mode, fan in (("fan_in", fan_in), ("fan_out", fan_out)):
        (entry,) = init.kaiming(nn.Sequential(layer), mode=mode).layers
        assert entry.fan == fan
        assert entry.std == pytest.approx((fan**-0.5, fan**-0.5))
        assert entry.gain == pytest.approx((1, 1))


@pytest.mark.parametrize("layer", [nn.Conv2d(16, 16, 6, stride=3), nn.ConvTranspose2d(16, 16, 5, stride=2)])
def test_strides_measured_in_both_directions(layer):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(32, 16, 24, 24, generator=generator, requires_grad=True)
    init.kaiming(nn.Sequential(layer), mode="fan_in", generator=generator)
    inside = layer(x.detach())[:, :, 6:-6, 6:-6] if layer.transposed else layer(x.detach())
    assert inside.square().mean().item() == pytest.approx(1, abs=0.1)
    init.kaiming(nn.Sequential(layer), mode="fan_out", generator=generator)
    y = layer(x)
    y.backward(torch.randn(y.shape, generator=generator))
    assert x.grad[:, :, 6:-6, 6:-6].square().mean().item() == pytest.approx(1, abs=0.1)


def test_depthwise_convolutions_have_a_scale_for_each_channel():
    slopes = [0.0, 0.5, 2.0]
    model = nn.Sequential(nn.Conv2d(1, 3, 1), sw.PReLU(3, slopes), nn.Conv2d(3, 300, 9, groups=3))
    report = init.kaiming(model, generator=torch.Generator().manual_seed(0))
    expected = [(81 * (1 + a * a) / 2) ** -0.5 for a in slopes]
    assert report.layers[1].std == pytest.approx((min(expected), max(expected)))
    measured = model[2].weight.view(3, -1).std(1)
    assert measured.tolist() == pytest.approx(expected, rel=0.05)  # of 8100 values: 6 standard errors


@pytest.mark.parametrize(
    ("distribution", "law"), [("normal", stats.norm()), ("uniform", stats.uniform(-(3**0.5), 12**0.5))]
)
def test_distributions(distribution, law):
    model = nn.Sequential(nn.Linear(50, 100), nn.PReLU(), nn.Linear(100, 100))
    init.kaiming(model, distribution=distribution, generator=torch.Generator().manual_seed(0))
    scaled = model[2].weight.detach().flatten() / (init.gain(0.25) / 10)
    assert stats.kstest(scaled.numpy(), law.cdf).pvalue > 0.01
    assert not model[2].bias.any()
