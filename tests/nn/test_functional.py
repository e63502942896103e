"""The formula and its gradients, against NumPy in float64 and against torch's own prelu."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

import slopewise as sw

SLOPES = st.sampled_from([-1.5, -0.25, 0.0, 0.25, 1.0, 1.75]) | st.floats(-3, 3)
SIZES = st.lists(st.integers(1, 4), min_size=1, max_size=5)


@st.composite
def cases(draw):
    """A shape, one of its dimensions (counted from either end), and slopes for it: one, or one per channel."""
    shape = draw(SIZES)
    channel_dim = draw(st.integers(-len(shape), len(shape) - 1))
    count = draw(st.sampled_from([1, shape[channel_dim]]))
    slopes = draw(st.lists(SLOPES, min_size=count, max_size=count))
    return shape, channel_dim, slopes, draw(st.integers(0, 2**32 - 1))


def tensors(shape, slopes, seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(shape, dtype=torch.float64, generator=generator)
    x[torch.rand(shape, generator=generator) < 0.1] = 0.0
    upstream = torch.randn(shape, dtype=torch.float64, generator=generator)
    return x.requires_grad_(), torch.tensor(slopes, dtype=torch.float64, requires_grad=True), upstream


@given(cases())
@settings(deadline=None)
def test_value_and_gradients_follow_the_closed_form(case):
    shape, channel_dim, slopes, seed = case
    x, weight, upstream = tensors(shape, slopes, seed)
    y = sw.functional.prelu(x, weight, channel_dim=channel_dim)
    grad_x, grad_a = torch.autograd.grad(y, (x, weight), upstream)

    values, incoming = x.detach().numpy(), upstream.numpy()
    per_element = np.empty(shape)
    np.moveaxis(per_element, channel_dim, -1)[...] = slopes
    np.testing.assert_array_equal(y.detach().numpy(), np.where(values > 0, values, per_element * values))
    np.testing.assert_array_equal(grad_x.numpy(), np.where(values > 0, 1.0, per_element) * incoming)
    by_channel = np.moveaxis(np.where(values > 0, 0.0, values * incoming), channel_dim, -1).reshape(
        -1, shape[channel_dim]
    )
    expected = by_channel.sum(axis=0) if len(slopes) > 1 else by_channel.sum(keepdims=True).reshape(1)
    np.testing.assert_allclose(grad_a.numpy(), expected, rtol=1e-12, atol=1e-12)


SHAPES = [(6, 4), (5, 4, 7), (3, 4, 5, 6), (2, 4, 3, 5, 2)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("slopes", [1, 4])
@pytest.mark.parametrize("shape", SHAPES)
def test_agrees_bitwise_with_torch_on_batches(shape, slopes, dtype):
    torch.manual_seed(0)
    x = torch.randn(shape, dtype=dtype)
    weight = torch.randn(slopes, dtype=dtype)
    upstream = torch.randn(shape, dtype=dtype)

    def run(function):
        inputs = x.clone().requires_grad_(), weight.clone().requires_grad_()
        y = function(*inputs)
        return y, *torch.autograd.grad(y, inputs, upstream)

    for ours, theirs in zip(run(sw.functional.prelu), run(F.prelu), strict=True):
        assert ours.dtype == theirs.dtype
        assert torch.equal(ours, theirs)


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")  # torch's forward AD
@pytest.mark.parametrize("slopes", [(0.3,), (0.3, -0.5, 1.5)])
@pytest.mark.parametrize(("shape", "channel_dim"), [((2, 3, 4), 1), ((2, 4, 3), -1), ((3, 2, 2, 2), 0), ((3,), 0)])
def test_gradcheck_and_gradgradcheck(shape, channel_dim, slopes):
    torch.manual_seed(0)
    x = torch.randn(shape, dtype=torch.float64)
    x = (x + x.sign()).requires_grad_()  # away from the kink at 0, where no difference quotient is right
    weight = torch.tensor(slopes, dtype=torch.float64, requires_grad=True)

    def function(x, weight):
        return sw.functional.prelu(x, weight, channel_dim=channel_dim)

    assert torch.autograd.gradcheck(function, (x, weight), check_forward_ad=True, check_batched_grad=True)
    assert torch.autograd.gradgradcheck(function, (x, weight))


@pytest.mark.parametrize("channel_dim", [1, -1])
def test_gradient_at_zero_is_the_slope(channel_dim):
    x = torch.tensor([[0.0, -0.0]], requires_grad=True)
    weight = torch.tensor([0.25, -3.0], requires_grad=True)
    y = sw.functional.prelu(x, weight, channel_dim=channel_dim)
    y.sum().backward()
    assert x.grad.tolist() == [[0.25, -3.0]]
    assert weight.grad.tolist() == [0.0, 0.0]


@pytest.mark.parametrize("channel_dim", [1, -1])
def test_special_values(channel_dim):
    nan, inf = float("nan"), float("inf")
    x = torch.tensor([[0.0, -0.0, nan, inf, -inf, -inf]], requires_grad=True)
    weight = torch.tensor([0.25, 0.25, 0.25, 0.25, 0.25, 0.0], requires_grad=True)
    y = sw.functional.prelu(x, weight, channel_dim=channel_dim)
    y.sum().backward()
    expected = torch.tensor([[0.0, -0.0, nan, inf, -inf, nan]])  # 0·(−inf) has no value
    torch.testing.assert_close(y.detach(), expected, rtol=0, atol=0, equal_nan=True)
    assert torch.signbit(y[0, :2]).tolist() == [False, True]
    assert x.grad.tolist() == [[0.25, 0.25, 0.25, 1.0, 0.25, 0.0]]
    torch.testing.assert_close(weight.grad, torch.tensor([0.0, 0.0, nan, 0.0, -inf, -inf]), equal_nan=True)


def test_a_slope_above_one_is_not_a_maximum():
    assert sw.functional.prelu(torch.tensor([-1.0]), torch.tensor([2.0])).tolist() == [-2.0]


@pytest.mark.parametrize("shape", [(), (5,), (5, 3), (2, 3, 4)])
@pytest.mark.parametrize("weight", [torch.tensor(0.5), torch.tensor([0.5])])
def test_a_shared_slope_takes_any_shape_and_no_channel_dim(shape, weight):
    y = sw.functional.prelu(torch.full(shape, -2.0), weight, channel_dim=3)
    assert torch.equal(y, torch.full(shape, -1.0))


@pytest.mark.parametrize("shape", [(3, 4, 5), (2, 3, 4, 5)])
def test_channel_dim_minus_three_takes_images_with_and_without_a_batch(shape):
    y = sw.functional.prelu(-torch.ones(shape), torch.tensor([1.0, 2.0, 3.0]), channel_dim=-3)
    assert y.mean(dim=(-1, -2)).reshape(-1, 3).unique(dim=0).tolist() == [[-1.0, -2.0, -3.0]]


@pytest.mark.parametrize("shape", [(0, 3, 4), (2, 3, 0)])
def test_empty_batches_keep_their_shape(shape):
    weight = torch.ones(3, requires_grad=True)
    y = sw.functional.prelu(torch.empty(shape), weight)
    y.sum().backward()
    assert y.shape == shape
    assert weight.grad.tolist() == [0, 0, 0]


def test_memory_format_is_kept():
    images = torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)
    assert sw.functional.prelu(images, torch.ones(3)).is_contiguous(memory_format=torch.channels_last)
    videos = torch.randn(2, 3, 4, 5, 6).to(memory_format=torch.channels_last_3d)
    assert sw.functional.prelu(videos, torch.ones(3)).is_contiguous(memory_format=torch.channels_last_3d)
    assert sw.functional.prelu(torch.randn(2, 4, 5, 3), torch.ones(3), channel_dim=-1).is_contiguous()


@pytest.mark.parametrize("slopes", [1, 3])
@pytest.mark.parametrize(("shape", "channel_dim"), [((2, 3, 4), 1), ((2, 4, 3), -1)])
def test_autocast_casts_as_torch_does(shape, channel_dim, slopes):
    x, weight = torch.randn(shape), torch.rand(slopes, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        y = sw.functional.prelu(x, weight, channel_dim=channel_dim)
        mixed = sw.functional.prelu(x.bfloat16(), weight, channel_dim=channel_dim)
    assert y.dtype == torch.bfloat16
    assert torch.equal(y, mixed)
    y.sum().backward()
    assert weight.grad.dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16), pytest.raises(TypeError, match=r"float64.*float32"):
        sw.functional.prelu(x.double(), weight, channel_dim=channel_dim)


@pytest.mark.parametrize(
    ("shape", "slopes", "channel_dim", "words"),
    [
        ((2, 3, 64, 64), 8, 1, ["8 slopes", "(2, 3, 64, 64)", "3 channels in dimension 1", "num_parameters=3"]),
        ((2, 7, 8), 8, 1, ["8 slopes", "(2, 7, 8)", "7 channels in dimension 1", "num_parameters=7", "channel_dim=2"]),
        ((2, 8, 7), 8, -1, ["7 channels in dimension -1", "num_parameters=7", "channel_dim=1"]),
        ((8,), 8, 1, ["8 slopes", "(8,)", "no dimension 1", "num_parameters=1", "channel_dim=0"]),
        ((), 8, 1, ["8 slopes", "()", "no dimension 1", "num_parameters=1"]),
        ((2, 3), 8, 2, ["no dimension 2"]),
        ((2, 3), 8, -3, ["no dimension -3"]),
        ((8, 8), 8, -3, ["no dimension -3", "channel_dim=0 or channel_dim=1"]),
    ],
)
def test_a_size_mismatch_names_the_sizes_and_what_to_pass(shape, slopes, channel_dim, words):
    with pytest.raises(ValueError, match="slopes do not fit") as caught:
        sw.functional.prelu(torch.ones(shape), torch.ones(slopes), channel_dim=channel_dim)
    for word in words:
        assert word in str(caught.value)
    assert caught.value.__suppress_context__  # one error, without torch's under it


def test_other_misfits_are_named():
    with pytest.raises(ValueError, match=r"shape \(3, 1\)"):
        sw.functional.prelu(torch.ones(2, 3), torch.ones(3, 1))
    with pytest.raises(TypeError, match=r"float16.*float32.*layer\.to\(torch\.float16\)"):
        sw.functional.prelu(torch.ones(2, 3, dtype=torch.float16), torch.ones(3))
    with pytest.raises(TypeError, match="int64"):
        sw.functional.prelu(torch.ones(2, 3, dtype=torch.int64), torch.ones(3))


def test_an_error_that_is_not_the_callers_misfit_passes_through():
    with pytest.raises(NotImplementedError, match="Long"):
        sw.functional.prelu(torch.ones(2, dtype=torch.int64), torch.ones(1, dtype=torch.int64))
