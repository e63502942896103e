"""Second moments through 20 layers, of values and of gradients, averaged over many draws of the weights.

For weights with mean 0 the expected second moment of every layer's output is exactly the product of the layers'
factors, at any width. What is measured is a mean over draws; its standard error follows from the fourth moments.
"""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import slopewise as sw
from slopewise import init

DEPTH, WIDTH, DRAWS = 20, 256, 40


def draw_slopes(count, generator):
    """Some negative, some above 1."""
    return torch.rand(count, generator=generator) * 2 - 0.5


def per_channel(layer, generator):
    return sw.PReLU(WIDTH, draw_slopes(WIDTH, generator))


def shared(layer, generator):
    return nn.PReLU(init=0.6)


def mixed(layer, generator):
    return [nn.ReLU(), per_channel(layer, generator), nn.LeakyReLU(0.3), shared(layer, generator)][layer % 4]


def network(activation, generator):
    steps = [nn.Linear(WIDTH, WIDTH)]
    for number in range(DEPTH - 1):
        steps += [activation(number, generator), nn.Linear(WIDTH, WIDTH)]
    return nn.Sequential(*steps)


def slopes_of(act):
    if isinstance(act, nn.PReLU):
        return act.weight.detach().double()
    return torch.tensor([getattr(act, "negative_slope", 0.0)], dtype=torch.float64)


def relative_variance(model):
    """Of the last layer's mean square for one input: a layer's outputs are independent, given its input."""
    factor = 1 + 2 / WIDTH
    for act in model[1::2]:
        a = slopes_of(act).expand(WIDTH)
        second, fourth = (1 + a**2) / 2, 3 * (1 + a**4) / 2
        factor *= 1 + ((fourth - second**2).sum() / second.sum() ** 2).item()
    return factor - 1


def relu_gain_(model, generator):
    for number, layer in enumerate(model[::2]):
        nn.init.normal_(layer.weight, 0, math.sqrt((1 if number == 0 else 2) / WIDTH), generator=generator)
        nn.init.zeros_(layer.bias)


def mean_square(model, x):
    with torch.no_grad():
        return model(x).square().mean().item()


@pytest.mark.parametrize("activation", [per_channel, shared, mixed])
def test_values_keep_their_scale_and_drift_with_relus_gain(activation):
    generator = torch.Generator().manual_seed(0)
    model = network(activation, generator)
    x = torch.randn(4, WIDTH, generator=generator)
    x /= x.square().mean(1, keepdim=True).sqrt()
    error = math.sqrt(relative_variance(model) / DRAWS)
    assert error < 0.15

    def measured(initialise):
        scales = []
        for _ in range(DRAWS):
            initialise()
            scales.append(mean_square(model, x))
        return sum(scales) / DRAWS

    ours = measured(lambda: init.kaiming(model, generator=generator))
    assert ours == pytest.approx(1, abs=4 * error)
    drift = math.prod(1 + slopes_of(act).square().mean().item() for act in model[1::2])
    assert drift > 1 + 20 * error
    relus = measured(lambda: relu_gain_(model, generator))
    assert relus == pytest.approx(drift, rel=4 * error)


def gradient_square(model, x, generator):
    x = x.clone().requires_grad_()
    y = model(x)
    y.backward(torch.randn(y.shape, generator=generator))
    return x.grad.square().mean().item()


@pytest.mark.parametrize("activation", [per_channel, mixed])
def test_gradients_keep_their_scale_with_fan_out(activation):
    generator = torch.Generator().manual_seed(1)
    model = network(activation, generator)
    x = torch.randn(4, WIDTH, generator=generator)
    scales = []
    for _ in range(DRAWS):
        init.kaiming(model, mode="fan_out", generator=generator)
        scales.append(gradient_square(model, x, generator))
    mean, deviation = torch.tensor(scales).mean().item(), torch.tensor(scales).std().item()
    error = deviation / math.sqrt(DRAWS)
    assert error < 0.15
    assert mean == pytest.approx(1, abs=4 * error)
    scales = []
    for _ in range(DRAWS):
        relu_gain_(model, generator)
        scales.append(gradient_square(model, x, generator))
    assert sum(scales) / DRAWS > 1 + 20 * error


def test_each_group_of_a_convolution_has_the_scale_for_its_own_channels():
    generator = torch.Generator().manual_seed(2)
    slopes = torch.tensor([0.0, 0.3, -0.6, 1.5]).repeat_interleave(8)
    # On a torus, where no border changes the fan; and transposed with a stride, where outputs meet 4, 2 or 1 places.
    for conv in (
        nn.Conv2d(32, 64, 3, padding=1, groups=4, padding_mode="circular"),
        nn.ConvTranspose2d(32, 64, 4, 2, 1, groups=4),
        nn.Conv2d(32, 64, 1, groups=32),
    ):
        model = nn.Sequential(nn.Conv2d(3, 32, 1), sw.PReLU(32, slopes), conv)
        scales = []
        for _ in range(40):
            init.kaiming(model, generator=generator)
            z = torch.randn(8, 32, 12, 12, generator=generator)
            with torch.no_grad():
                y = conv(model[1](z))[:, :, 2:-2, 2:-2]
            scales.append(y.square().mean((0, 2, 3)).view(4, 16).mean(1))
        groups = torch.stack(scales)
        error = groups.std(0) / math.sqrt(len(groups))
        assert error.max() < 0.09
        assert ((groups.mean(0) - 1).abs() < 4 * error).all()


class Block(nn.Module):
    """A residual block without normalisation, which rectifies its sum."""

    def __init__(self, width, first, second):
        super().__init__()
        self.one, self.two = nn.Linear(width, width), nn.Linear(width, width)
        self.first, self.second = first, second

    def forward(self, x):
        return self.second(x + self.two(self.first(self.one(x))))


@pytest.mark.parametrize("a", [0.0, 0.25])
def test_residual_blocks_without_normalisation(a):
    """Every layer's output stays near 1, where the plain gain would double the stream in each of 20 blocks."""
    generator = torch.Generator().manual_seed(3)
    width = 256
    blocks = [Block(width, nn.PReLU(init=a), nn.PReLU(init=a)) for _ in range(DEPTH)]
    model = nn.Sequential(nn.Linear(width, width), nn.PReLU(init=a), *blocks)
    seen = []
    for block in blocks:
        block.two.register_forward_hook(lambda module, args, output: seen.append(output.square().mean().item()))
    x = torch.randn(64, width, generator=generator)
    init.kaiming(model, generator=generator)
    model(x)
    # The sums are taken as normal, which a rectified stream is not quite: near 1, not equal to it.
    assert all(0.5 < square < 2 for square in seen)
    seen.clear()
    for number, layer in enumerate(m for m in model.modules() if isinstance(m, nn.Linear)):
        nn.init.normal_(layer.weight, 0, (init.gain(a) if number else 1) / math.sqrt(width), generator=generator)
    model(x)
    assert seen[-1] > 1e4


def test_branches_that_are_concatenated_added_and_scaled():
    class Branches(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = (nn.Linear(64, width) for width in (128, 256, 256))
            self.act, self.head = sw.PReLU(128, 0.8), nn.Linear(384, 512)

        def forward(self, x):
            return self.head(torch.cat([self.act(self.a(x)), 3 * F.relu(self.b(x)) - self.c(x)], 1))

    generator = torch.Generator().manual_seed(4)
    model = Branches()
    scales = []
    for _ in range(40):
        report = init.kaiming(model, generator=generator)
        scales.append(mean_square(model, torch.randn(16, 64, generator=generator)))
    measured = torch.tensor(scales)
    assert measured.mean().item() == pytest.approx(1, abs=4 * measured.std().item() / math.sqrt(40))
    assert measured.std() < 0.3
    total = 128 * (1 + 0.8**2) / 2 + 256 * (9 / 2 + 1)
    assert report.layers[-1].std[0] == pytest.approx(total**-0.5)
