"""The variants of a network are compared in time: they must be the same network."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from slopewise.bench import CONVOLUTIONS, FUSED, FUSED_LOW_MEMORY, NETWORKS, PRELU, RELU, UNFUSED, build
from slopewise.bench._networks import batch_of, seeded, training_step
from slopewise.study.models import resnet20

PRELUS = (PRELU, UNFUSED, FUSED, FUSED_LOW_MEMORY)
LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


def model_of(network, variant, init, layout="contiguous"):
    torch.manual_seed(0)
    return build(network, variant, width=4, init=init).double().to(memory_format=LAYOUTS[layout])


def images(layout="contiguous"):
    return batch_of(6, layout)[0].double()


def learn(model, x):
    """Two passes in training, one in evaluation: outputs, and the gradients of convolutions and the linear layer."""
    outputs = [model(x), model(x.flip(0))]
    weights = [m.weight for m in model.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    gradients = torch.autograd.grad(sum(F.cross_entropy(y, torch.arange(6)) for y in outputs), weights)
    return [*outputs, *gradients, model.eval()(x)]


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_with_slope_0_every_variant_is_the_relu_network(network, layout):
    x = images(layout)
    expected = learn(model_of(network, RELU, 0.0, layout), x)
    for variant in PRELUS:
        actual = learn(model_of(network, variant, 0.0, layout), x)
        torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-9, msg=lambda text, v=variant: f"{v}: {text}")


@pytest.mark.parametrize("network", NETWORKS)
def test_with_other_slopes_the_prelu_variants_agree_and_differ_from_relu(network):
    x = images()
    expected = learn(model_of(network, PRELU, 0.25), x)
    for variant in PRELUS[1:]:
        torch.testing.assert_close(learn(model_of(network, variant, 0.25), x), expected, rtol=1e-9, atol=1e-9)
    assert not torch.allclose(learn(model_of(network, RELU, 0.25), x)[0], expected[0])


def test_resnet20_is_the_study_s():
    ours = model_of("resnet20", RELU, 0.0)
    theirs = resnet20(lambda channels: nn.ReLU(), 10, 3, width=4).double()
    with torch.no_grad():
        for a, b in zip(theirs.parameters(), ours.parameters(), strict=True):
            a.copy_(b)
    torch.testing.assert_close(learn(ours, images()), learn(theirs, images()), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("network", "count"), [("resnet20", 19), ("cnn", 6)])
def test_the_floor_is_the_convolutions_one_after_another(network, count):
    model, x = model_of(network, CONVOLUTIONS, 0.0), images()
    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    full = [m for m in model_of(network, RELU, 0.0).modules() if isinstance(m, nn.Conv2d)]
    assert [m.weight.shape for m in convolutions] == [m.weight.shape for m in full]
    assert len(convolutions) == count
    linear = model[-1]
    y = x
    for number, convolution in enumerate(convolutions, start=1):
        y = F.conv2d(y, convolution.weight, None, convolution.stride, padding=1)
        if network == "cnn" and number in (2, 4):
            y = F.max_pool2d(y, 2)
    torch.testing.assert_close(model(x), y.mean((2, 3)) @ linear.weight.T + linear.bias, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("variant", [RELU, FUSED, CONVOLUTIONS])
def test_a_step_trains_every_parameter_and_many_leave_the_network_finite(variant):
    model = seeded("resnet20", variant, "channels_last", 4)
    before = [p.clone() for p in model.parameters()]
    step = training_step(model)
    for _ in range(30):
        step(*batch_of(8, "channels_last"))
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    assert sum(not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True)) > 0.9 * len(before)
    assert all((a - b).abs().max() < 1e-2 for a, b in zip(before, model.parameters(), strict=True))


def test_seeded_weights_are_the_same_and_the_callers_stream_is_left_alone():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    a, b = (seeded("cnn", v, "channels_last", 4) for v in (RELU, FUSED))
    assert torch.equal(torch.rand(1), expected)
    assert torch.equal(a[0].weight, b[0].weight)
    assert a[2].weight.is_contiguous(memory_format=torch.channels_last)
    assert not seeded("cnn", RELU, "contiguous", 4)[2].weight.is_contiguous(memory_format=torch.channels_last)
