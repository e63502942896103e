"""The fused kernels against PyTorch in float64: many pieces of memory, hard variances, running statistics."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch.autograd import grad

from ..in_order import fused, fused_add

pytestmark = pytest.mark.usefixtures("kernels")
# Of the norm of a tensor, which the many elements of these tensors keep well above the rounding of one.
CLOSE = {torch.float32: 1e-6, torch.bfloat16: 4e-3, torch.float64: 1e-13}


def parameters(channels, dtype):
    """Slope, running mean and variance, weight, bias."""
    rising = torch.linspace(-1.4, 1.5, channels, dtype=torch.float64)
    values = 0.3 - rising, rising / 2, 1.5 + rising.abs(), rising.sign() + rising / 3, rising.flip(0)
    return [value.to(dtype) for value in values]


def run(function, inputs, upstream, training):
    """Output, running statistics and gradients; in the type of the inputs."""
    x, residual, slope, mean, var, weight, bias = (None if t is None else t.detach().clone() for t in inputs)
    learned = [t.requires_grad_() for t in (x, slope, weight, bias, residual) if t is not None]
    y = function(x, residual, slope, mean, var, weight, bias, training, 0.3)
    return [y.detach(), mean, var, *grad(y, learned, upstream)]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("with_residual", [False, True])
@pytest.mark.parametrize("dtype", CLOSE)
def test_values_gradients_and_statistics(large, dtype, with_residual, training, pair):
    x, residual, upstream = (large(dtype, seed) for seed in range(3))
    inputs = [x, residual if with_residual else None, *parameters(x.size(1), dtype)]
    wide = [None if t is None else t.double() for t in inputs]
    z = pair(*wide[:2], torch.ones(1).double(), *[t.clone() for t in wide[3:5]], *wide[5:], training)
    upstream = torch.where(z.abs() < 1e-5, 0, upstream)  # there, rounding may end on either side of the kink
    results = run(fused_add, inputs, upstream, training)
    assert results[0].stride() == results[3].stride() == x.stride()
    for result, exact in zip(results, run(pair, wide, upstream.double(), training), strict=True):
        assert (result.double() - exact).norm() <= CLOSE[dtype] * exact.norm()


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    ("dtype", "mean", "std"),
    [
        (torch.float32, 1e4, 1.0),
        (torch.float32, -1e6, 30.0),
        (torch.float32, 1.0, 1e-4),
        (torch.float32, 0.0, 1.0),
        (torch.bfloat16, 300.0, 2.0),
    ],
)
def test_variance_survives_a_large_mean(dtype, mean, std, layout):
    x = (mean + std * torch.randn(6, 4, 90, 70, dtype=torch.float64)).to(dtype).contiguous(memory_format=layout)
    x[0, 1, 0, 0], x[5, 2, 89, 69] = 0, 3 * mean  # an outlier first, and one last
    computed = torch.promote_types(dtype, torch.float32)
    moments = torch.zeros(2, 4, dtype=computed)
    y = fused(x, 1.0, *moments, training=True, momentum=1.0, eps=1e-12)
    var, centre = torch.var_mean(x.double(), (0, 2, 3))
    eps, spread = torch.finfo(computed).eps, var.sqrt()
    # Storing the input in that type alone costs a deviation eps * |mean| at most, and sums of deviations far less.
    lost = eps * centre.abs() / spread
    assert (moments[0] - centre).abs().le((2 * lost + 1e-8) * spread).all()
    assert (moments[1] / var - 1).abs().le(4 * eps + 0.1 * lost).all()
    biased = var * (1 - 1 / (6 * 90 * 70))
    normalised, lost = (x.double() - centre.view(-1, 1, 1)) / biased.sqrt().view(-1, 1, 1), lost.view(-1, 1, 1)
    relative = 4 * torch.finfo(dtype).eps + 0.1 * lost
    assert (y - normalised).abs().le(2 * lost + relative * (1 + normalised.abs())).all()


@pytest.mark.parametrize("momentum", [0.0, 0.1, 1.0, 1 / 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_running_statistics_of_either_type_move_as_those_of_pytorch(dtype, momentum):
    x = 3 + 2 * torch.randn(8, 3, 9, 9).to(dtype)
    for kept_in in {dtype, torch.promote_types(dtype, torch.float32)}:
        ours, theirs = (torch.tensor([[1.0, -2.0, 0.5], [3.0, 1.0, 0.5]]).to(kept_in) for _ in range(2))
        for _ in range(3):
            fused(x, 0.1, *ours, training=True, momentum=momentum)
            F.batch_norm(x, *theirs, training=True, momentum=momentum)
        torch.testing.assert_close(ours, theirs, rtol=0, atol=12 * torch.finfo(kept_in).eps)
        if momentum == 0.0:
            assert torch.equal(ours[0], torch.tensor([1.0, -2.0, 0.5]).to(kept_in))


@pytest.mark.parametrize("training", [True, False])
def test_a_change_of_the_running_statistics_does_not_reach_a_graph_made_before(training):
    grads = []
    for change in (0.0, 1.0):
        x, moments = torch.ones(8, 3, 5, 5).cumsum(0).requires_grad_(), torch.ones(2, 3)
        y = fused(x, 0.1, *moments, training=training)
        moments += change  # as the next forward pass may
        y.square().sum().backward()
        grads.append(x.grad)
        assert not moments.requires_grad
    assert torch.equal(*grads)


@pytest.mark.parametrize("low_memory", [False, True])
@pytest.mark.parametrize("with_residual", [False, True])
@pytest.mark.parametrize("training", [True, False])
def test_the_gradient_at_zero_is_the_slope(training, with_residual, low_memory):
    x, residual = torch.zeros(2, 60, 3, requires_grad=True), torch.zeros(2, 60, 3, requires_grad=True)
    slope, bias = torch.full((60,), 0.25, requires_grad=True), torch.zeros(60, requires_grad=True)
    moments = torch.zeros(60), torch.ones(60)
    options = {"training": training, "eps": 1e-30, "low_memory": low_memory}
    y = fused_add(x, residual if with_residual else None, slope, *moments, None, bias, **options)
    y.sum().backward()
    assert torch.equal(bias.grad, torch.full((60,), 6 * 0.25))
    assert torch.equal(slope.grad, torch.zeros(60))
    if not training:
        assert torch.equal(x.grad, torch.full_like(x, 0.25))
    if with_residual:
        assert torch.equal(residual.grad, torch.full_like(x, 0.25))


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("with_residual", [False, True])
def test_one_bad_element_spoils_no_other_in_evaluation(with_residual, value, pair):
    x, residual = torch.randn(2, 4, 3, 50).double()
    x[1, 2, 7] = value
    inputs = [x, residual if with_residual else None, *parameters(3, torch.float64)]
    upstream = torch.randn_like(x)
    for ours, theirs in zip(*(run(f, inputs, upstream, training=False) for f in (fused_add, pair)), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9, equal_nan=True)


@pytest.mark.parametrize("bits", [0x7FFFFFFF, -1, 0x7F800001])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_any_nan_of_a_float32_parameter_stays_one_in_bfloat16(bits, layout):
    x = torch.randn(8, 16, 16, 16).to(torch.bfloat16, memory_format=layout)
    weight, bias = torch.ones(16), torch.zeros(16)
    bias[3] = torch.tensor(bits, dtype=torch.int32).view(torch.float32)  # rounding must not carry into the exponent
    y = fused(x, torch.full((16,), 0.25), None, None, weight, bias, training=True)
    assert y[:, 3].isnan().all()
    assert y.isnan().sum() == y[:, 3].numel()
