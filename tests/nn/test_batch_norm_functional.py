"""The fused functions: the closed form in NumPy, derivatives, plain numbers for slopes, and errors in words."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from slopewise import functional

from ..in_order import fused, fused_add


def rand(*shape, seed=0):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@given(
    shape=st.tuples(st.integers(2, 5), st.integers(1, 4), st.integers(1, 4)),
    slope=st.floats(-2, 2),
    momentum=st.floats(0, 1),
    eps=st.floats(1e-5, 10),
    seed=st.integers(0, 2**32 - 1),
)
def test_values_and_statistics_follow_the_closed_form(shape, slope, momentum, eps, seed):
    channels = shape[1]
    x, residual = 3 * rand(*shape, seed=seed) + 1, rand(*shape, seed=seed + 1)
    weight, bias, mean, var = rand(4, channels, seed=seed + 2)
    var = var.exp()
    running_mean, running_var = mean.clone(), var.clone()
    args = running_mean, running_var, weight, bias
    trained = fused_add(x, residual, torch.tensor([slope]), *args, training=True, momentum=momentum, eps=eps)
    used = running_mean.clone(), running_var.clone()
    evaluated = fused(x, torch.full((channels,), slope), *args, eps=eps)

    def expected(mean, var, residual):
        mean, var, scale, shift = (np.asarray(t).reshape(1, -1, 1) for t in (mean, var, weight, bias))
        z = (x.numpy() - mean) / np.sqrt(var + eps) * scale + shift + np.asarray(residual)
        return np.where(z > 0, z, np.float32(slope) * z)

    axes, count = (0, 2), shape[0] * shape[2]
    moments = x.numpy().mean(axis=axes), x.numpy().var(axis=axes)
    close = {"rtol": 1e-9, "atol": 1e-9}
    np.testing.assert_allclose(trained.numpy(), expected(*moments, residual), **close)
    np.testing.assert_allclose(used[0].numpy(), (1 - momentum) * mean.numpy() + momentum * moments[0], **close)
    unbiased = moments[1] * count / (count - 1)
    np.testing.assert_allclose(used[1].numpy(), (1 - momentum) * var.numpy() + momentum * unbiased, **close)
    np.testing.assert_allclose(evaluated.numpy(), expected(*used, 0.0), **close)
    assert torch.equal(running_mean, used[0])  # evaluation moves nothing
    assert torch.equal(running_var, used[1])


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")  # torch's forward AD
@pytest.mark.parametrize("low_memory", [False, True])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("slopes", [(0.3,), (0.3, -0.5, 1.5)])
def test_gradcheck_and_gradgradcheck(slopes, training, low_memory):
    x, residual, slope = rand(4, 3, 2), rand(4, 3, 2, seed=1), torch.tensor(slopes, dtype=torch.float64)
    weight, bias = 1 + 0.1 * rand(3), rand(3, seed=3)
    mean, var = rand(3, seed=4), rand(3, seed=5).exp()

    def function(x, residual, slope, weight, bias):
        stats = (None, None) if training else (mean, var)
        return fused_add(x, residual, slope, *stats, weight, bias, training, low_memory=low_memory)

    inputs = [t.requires_grad_() for t in (x, residual, slope, weight, bias)]
    assert function(*inputs).abs().min() > 1e-3  # away from the kink, where no difference quotient is right
    assert torch.autograd.gradcheck(function, inputs)
    assert torch.autograd.gradgradcheck(function, inputs)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    ("slope", "activation"),
    [(0.0, F.relu), (0, F.relu), (1.0, lambda z: z), (0.01, F.leaky_relu), (-0.5, lambda z: F.leaky_relu(z, -0.5))],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_number_is_a_fixed_slope(slope, activation, dtype, training):
    x, residual = rand(8, 3, 5, 5).to(dtype), rand(8, 3, 5, 5, seed=1).to(dtype)
    mean, var = torch.zeros(3, dtype=dtype), torch.ones(3, dtype=dtype)
    ours = [
        fused(x, slope, mean.clone(), var.clone(), training=training),
        fused_add(x, residual, slope, mean.clone(), var.clone(), training=training),
    ]
    z = F.batch_norm(x, mean, var, training=training)
    for y, expected in zip(ours, (activation(z), activation(z + residual)), strict=True):
        assert y.dtype == dtype
        torch.testing.assert_close(y, expected)


def test_the_gradient_at_zero_is_the_slope():
    x = torch.zeros(2, 1, requires_grad=True)
    fused(x, 0.25, torch.zeros(1), torch.ones(1), eps=0.0).sum().backward()
    assert x.grad.tolist() == [[0.25], [0.25]]


def test_a_residual_of_none_adds_nothing():
    x = rand(4, 3)
    assert torch.equal(fused_add(x, None, 0.1, None, None, training=True), fused(x, 0.1, None, None, training=True))


@pytest.mark.parametrize("shape", [(4, 3, 6), (4, 3, 6, 6), (4, 3, 2, 6, 6)])
def test_memory_format_is_kept(shape):
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    x = torch.randn(shape).to(memory_format=formats.get(len(shape), torch.contiguous_format))
    for residual in (None, torch.randn_like(x)):
        assert fused_add(x, residual, 0.1, None, None, training=True).stride() == x.stride()


@pytest.mark.parametrize("slope", [0.3, torch.tensor([0.3]), torch.tensor([0.1, 0.2, 0.3])])
def test_vmap_is_a_loop(slope):
    x, mean, var = torch.randn(5, 4, 3, 6), torch.zeros(3), torch.ones(3)
    together = torch.vmap(lambda x: fused(x, slope, mean, var))(x)
    torch.testing.assert_close(together, torch.stack([fused(one, slope, mean, var) for one in x]))


X, ONES = torch.ones(4, 3, 5), torch.ones(3)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"input": torch.ones(3)}, r"the input has shape \(3,\), and no dimension 1 .*: pass \(N, C\)"),
        ({"input": torch.tensor(1.0), "training": True}, r"the input has shape \(\), and no dimension 1"),
        ({"running_mean": None, "running_var": None}, "running_mean and running_var must be given where training"),
        ({"running_var": None}, r"running_var must be given .* or training=True"),
        ({"running_mean": torch.ones(4)}, r"running_mean has shape \(4,\), .*\(4, 3, 5\) has 3 channels: pass one"),
        ({"running_var": torch.ones(4)}, r"running_var has shape \(4,\)"),
        ({"weight": torch.ones(2)}, r"weight has shape \(2,\)"),
        ({"bias": torch.ones(1)}, r"bias has shape \(1,\)"),
        ({"slope": torch.ones(2)}, r"2 slopes do not fit an input of shape \(4, 3, 5\), which has 3 channels"),
        ({"slope": torch.ones(3, 1)}, r"the slopes have shape \(3, 1\): pass a scalar or a vector"),
        ({"residual": torch.ones(3, 1)}, r"the residual has shape \(3, 1\) and the input \(4, 3, 5\)"),
        ({"residual": torch.ones(4, 1, 5)}, "they must be the same"),
        ({"input": torch.ones(1, 3), "training": True}, "Expected more than 1 value per channel when training"),
    ],
)
def test_misfits_are_named(arguments, words):
    fitting = {"input": X, "residual": None, "slope": ONES, "running_mean": ONES, "running_var": ONES}
    with pytest.raises(ValueError, match=words):
        functional.batch_norm_add_prelu(**{**fitting, **arguments})


def test_other_misfits():
    with pytest.raises(TypeError, match="slope must be a tensor or a number, got None"):
        fused(X, None, ONES, ONES)
    with pytest.raises(NotImplementedError, match="Long"):  # torch's own words, where they are clear
        fused(X.long(), 0.1, ONES.long(), ONES.long())
