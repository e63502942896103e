"""The fused layers against torch's normalisation, addition and PReLU one after the other."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import slopewise as sw

FUSED = {
    2: (sw.BatchNormPReLU1d, nn.BatchNorm1d),
    3: (sw.BatchNormPReLU1d, nn.BatchNorm1d),
    4: (sw.BatchNormPReLU2d, nn.BatchNorm2d),
    5: (sw.BatchNormPReLU3d, nn.BatchNorm3d),
}
SLOPES = st.sampled_from([-0.5, 0.0, 2**-12, 0.25, 1.0, 1.75]) | st.floats(-2, 2)
TRAINED = {"affine": True, "track_running_stats": True, "momentum": 0.1, "eps": 1e-5}


class Pair(nn.Module):
    """The fused layer's reference, made of torch's own layers."""

    def __init__(self, dims, channels, slopes, **arguments):
        super().__init__()
        self.bn = FUSED[dims][1](channels, dtype=torch.float64, **arguments)
        self.act = nn.PReLU(len(slopes), dtype=torch.float64)
        with torch.no_grad():
            self.act.weight.copy_(torch.tensor(slopes, dtype=torch.float64))

    def forward(self, x, residual=None):
        z = self.bn(x)
        return self.act(z if residual is None else z + residual)


def both(dims, channels, slopes, **arguments):
    """A fused layer and its reference with the same values of everything, weight and bias not at their defaults."""
    reference = Pair(dims, channels, slopes, **arguments)
    if reference.bn.affine:
        nn.init.uniform_(reference.bn.weight, -1.5, 1.5)
        nn.init.normal_(reference.bn.bias)
    layer = FUSED[dims][0](channels, num_parameters=len(slopes), init=slopes, dtype=torch.float64, **arguments)
    layer.load_state_dict(reference.bn.state_dict(), strict=False)
    return layer, reference


def compare_step(layer, reference, x, residual, low_memory=False):
    """One forward and backward pass of both: outputs, every gradient and every buffer must agree."""
    layer.low_memory = low_memory
    results = []
    for module in (layer, reference):
        module.zero_grad()
        inputs = [x.clone().requires_grad_()] + ([] if residual is None else [residual.clone().requires_grad_()])
        y = module(*inputs)
        (y * torch.linspace(-1, 2, y.numel(), dtype=y.dtype).view(y.shape)).sum().backward()
        results.append((y.detach(), *(tensor.grad for tensor in inputs)))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
        assert ours.stride() == theirs.stride()
    expected = {**dict(reference.bn.named_parameters()), "slope": reference.act.weight}
    for name, parameter in layer.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name].grad, rtol=1e-9, atol=1e-9)
    for name, buffer in reference.bn.named_buffers():
        torch.testing.assert_close(layer.get_buffer(name), buffer, rtol=1e-12, atol=1e-12)


@st.composite
def cases(draw):
    dims, channels = draw(st.integers(2, 5)), draw(st.integers(1, 4))
    arguments = {
        "affine": draw(st.booleans()),
        "track_running_stats": draw(st.booleans()),
        "momentum": draw(st.none() | st.floats(0, 1)),
        "eps": draw(st.sampled_from([1e-5, 1e-3, 1.0])),
    }
    count = draw(st.sampled_from([1, channels]))
    return {
        "dims": dims,
        "channels": channels,
        "slopes": draw(st.lists(SLOPES, min_size=count, max_size=count)),
        "arguments": arguments,
        "modes": draw(st.lists(st.booleans(), min_size=1, max_size=4)),  # training or not, step by step
        "batch": draw(st.integers(2, 5)),
        "residual": draw(st.booleans()),
        "low_memory": draw(st.booleans()),
        "seed": draw(st.integers(0, 2**32 - 1)),
    }


@given(cases())
@settings(max_examples=150)
def test_is_normalisation_addition_and_prelu_whatever_the_arguments(case):
    torch.manual_seed(case["seed"])
    layer, reference = both(case["dims"], case["channels"], case["slopes"], **case["arguments"])
    for training in case["modes"]:
        shape = (case["batch"], case["channels"], 3, 2, 2)[: case["dims"]]
        x = 3 * torch.randn(shape, dtype=torch.float64) + 1
        residual = torch.randn_like(x) if case["residual"] else None
        compare_step(layer.train(training), reference.train(training), x, residual, case["low_memory"])


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("slopes", [(0.25,), (0.0, 0.1, 1.5, -0.5) * 4])
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("low_memory", [False, True])
def test_trains_alike_on_a_large_batch(memory_format, slopes, residual, low_memory):
    torch.manual_seed(0)
    layer, reference = both(4, 16, slopes, **TRAINED)
    ours, theirs = (torch.optim.SGD(m.parameters(), lr=1e-4, momentum=0.9) for m in (layer, reference))
    for _ in range(3):
        x = torch.randn(8, 16, 20, 20, dtype=torch.float64).to(memory_format=memory_format)
        shortcut = torch.randn_like(x) if residual else None
        compare_step(layer, reference, x, shortcut, low_memory)
        ours.step()
        theirs.step()
    compare_step(layer.eval(), reference.eval(), x, shortcut, low_memory)
    torch.testing.assert_close(layer.slope, reference.act.weight)
    assert layer.num_batches_tracked == 3


@pytest.mark.parametrize(
    "slopes", [(0.25, 1.0, 2.0), (0.25, 0.0, -1.0), (2**-11, 1e-30, 0.5), (0.5, float("nan"), 1.0)]
)
@pytest.mark.parametrize(
    ("weight", "bias", "size"), [(1.0, 0.0, 1.0), (1e-4, 3.0, 1.0), (0.0, 1.0, 1.0), (1.0, 0.1, 1e4)]
)
def test_low_memory_gives_the_same_gradients_safe_or_not(slopes, weight, bias, size):
    """Slopes and scales on both sides of the limit, in float32: `size` is the residual's."""
    torch.manual_seed(0)
    x, residual = torch.randn(16, 3, 16, 16), size * torch.randn(16, 3, 16, 16)
    gradients = []
    for low_memory in (False, True):
        layer = sw.BatchNormPReLU2d(3, init=slopes, low_memory=low_memory)
        nn.init.constant_(layer.weight, weight)
        nn.init.constant_(layer.bias, bias)
        inputs = x.clone().requires_grad_(), residual.clone().requires_grad_()
        layer(*inputs).square().mean().backward()
        gradients.append([tensor.grad for tensor in (*inputs, *layer.parameters())])
    for plain, low in zip(*gradients, strict=True):
        scale = plain.nan_to_num().abs().max().item()
        torch.testing.assert_close(low, plain, rtol=1e-4, atol=1e-4 * scale, equal_nan=True)


@pytest.mark.parametrize("modes", [(True, True, True), (True, False, True)])
def test_momentum_none_averages_over_all_batches(modes):
    torch.manual_seed(0)
    layer, means = sw.BatchNormPReLU1d(2, momentum=None, dtype=torch.float64), []
    for training in modes:
        x = torch.randn(50, 2, dtype=torch.float64)
        layer.train(training)(x)
        means += [x.mean(0)] * training
    torch.testing.assert_close(layer.running_mean, torch.stack(means).mean(0))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", [(0, 3, 4, 4), (2, 3, 0, 4)])
def test_empty_batches_as_torch_has_them(shape, training):
    layer, reference = both(4, 3, (0.25,), **TRAINED)
    compare_step(layer.train(training), reference.train(training), torch.empty(shape, dtype=torch.float64), None)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [(sw.BatchNormPReLU1d, (1, 3)), (sw.BatchNormPReLU1d, (1, 100_000)), (sw.BatchNormPReLU2d, (1, 3, 1, 1))],
)
def test_one_value_per_channel_is_torchs_error_in_training_alone(layer, shape):
    fused = layer(shape[1])
    with pytest.raises(ValueError, match="Expected more than 1 value per channel when training, got input size"):
        fused(torch.ones(shape))
    assert fused.eval()(torch.ones(shape)).shape == shape
    with pytest.raises(ValueError, match="Expected more than 1 value per channel"):
        layer(shape[1], track_running_stats=False).eval()(torch.ones(shape))


@pytest.mark.parametrize(
    ("layer", "dims", "message"),
    [
        (sw.BatchNormPReLU1d, (1, 4), r"expected 2D or 3D input \(got {}D input\): pass \(N, C\) or \(N, C, L\)"),
        (sw.BatchNormPReLU2d, (2, 3, 5), r"expected 4D input \(got {}D input\): pass \(N, C, H, W\)"),
        (sw.BatchNormPReLU3d, (2, 4), r"expected 5D input \(got {}D input\): pass \(N, C, D, H, W\)"),
    ],
)
def test_other_dimensions_are_refused_before_anything_is_counted(layer, dims, message):
    fused = layer(2)
    for count in dims:
        with pytest.raises(ValueError, match=message.format(count)):
            fused(torch.ones((2,) * count))
    assert fused.num_batches_tracked == 0


def test_statistics_switched_off_by_hand_are_handled_as_in_torch():
    """Two tricks in the wild: freezing the statistics of a training layer, and removing those of an evaluating one."""
    torch.manual_seed(0)
    x = torch.randn(6, 2, 3, 3, dtype=torch.float64)
    layer, reference = both(4, 2, (0.25,), **TRAINED)
    compare_step(layer, reference, x, None)
    layer.track_running_stats = reference.bn.track_running_stats = False
    for training in (True, False):
        compare_step(layer.train(training), reference.train(training), x + 1, None)
    layer.running_mean = layer.running_var = reference.bn.running_mean = reference.bn.running_var = None
    compare_step(layer, reference, x + 2, None)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_large_mean_does_not_drown_the_variance(dtype):
    torch.manual_seed(0)
    x = (torch.randn(64, 3, 16, 16) + (1e4 if dtype == torch.float32 else 10.0)).to(dtype)
    layer = sw.BatchNormPReLU2d(3, num_parameters=1, init=1.0, learnable=False, dtype=dtype)
    exact = nn.BatchNorm2d(3, dtype=torch.float64)
    tolerance = 2e-3 if dtype == torch.float32 else 2e-2
    torch.testing.assert_close(layer(x).double(), exact(x.double()), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("mixed", [False, True])
def test_autocast_gives_what_the_pair_gives(mixed):
    torch.manual_seed(0)
    x = torch.randn(4, 3, 8, 8, dtype=torch.bfloat16 if mixed else torch.float32)
    layer = sw.BatchNormPReLU2d(3, init=[0.1, 0.25, 0.5])
    bn, act = nn.BatchNorm2d(3), nn.PReLU(3)
    with torch.no_grad():
        act.weight.copy_(layer.slope)
    with torch.autocast("cpu", torch.bfloat16):
        ours, theirs = layer(x), act(bn(x))
    assert ours.dtype == theirs.dtype
    torch.testing.assert_close(ours, theirs, rtol=1e-2, atol=1e-2)
    ours.float().square().sum().backward()
    theirs.float().square().sum().backward()
    for mine, other in ((layer.slope, act.weight), (layer.weight, bn.weight), (layer.bias, bn.bias)):
        assert mine.grad.dtype == torch.float32
        torch.testing.assert_close(mine.grad, other.grad, rtol=2e-2, atol=2e-2 * other.grad.abs().max().item())
    torch.testing.assert_close(layer.running_var, bn.running_var, rtol=1e-3, atol=1e-3)


def test_pre_activation_is_what_the_layer_rectifies():
    torch.manual_seed(0)
    layer, reference = both(4, 3, (0.1, -0.5, 2.0), **TRAINED)
    x, residual = torch.randn(2, 4, 3, 5, 5, dtype=torch.float64)
    reference.bn(x)
    z = layer.pre_activation(x, residual)
    assert layer.num_batches_tracked == 1
    torch.testing.assert_close(layer.running_mean, reference.bn.running_mean)
    reference.bn.eval()
    layer.eval()
    torch.testing.assert_close(layer.pre_activation(x), reference.bn(x))
    torch.testing.assert_close(reference.act(layer.train().pre_activation(x, residual)), layer(x, residual))
    assert z.requires_grad
