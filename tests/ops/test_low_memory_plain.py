"""Keeping the output by PyTorch's own operations, where no kernel takes the call: other devices, kernels off."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd import grad, gradcheck, gradgradcheck
from torch.autograd.graph import saved_tensors_hooks

import slopewise as sw
from slopewise.ops import _batch_norm_prelu, _prelu

from ..in_order import fused_add

DTYPES = [torch.float32, torch.bfloat16, torch.float16, torch.float64]
ERROR = {torch.float32: 1e-5, torch.bfloat16: 0.015, torch.float16: 0.002, torch.float64: 1e-13}
LAYOUTS = [torch.contiguous_format, torch.channels_last]


@pytest.fixture(autouse=True)
def no_kernels(monkeypatch):
    for module in (_prelu, _batch_norm_prelu):
        monkeypatch.setattr(module, "_SMALLEST", 1)
    with sw.ops.use_kernels(enabled=False):
        yield


def arguments(dtype, layout=torch.contiguous_format, **changed):
    """x, residual, slope, weight and bias, in each of which low memory is safe but for a changed value."""
    x, residual = (t.contiguous(memory_format=layout) for t in torch.randn(2, 6, 4, 9, 9, dtype=torch.float64))
    tensors = {"x": x, "residual": residual.clamp(-2, 2), "slope": torch.tensor([0.25, 0.1, 1.5, 1.0])}
    tensors |= {"weight": torch.tensor([1.0, -0.5, 2.0, 1.0]), "bias": torch.tensor([0.0, -0.5, 1.0, 2.0])}
    for name, value in changed.items():
        if value is None:
            tensors[name] = None
        elif name == "residual":
            tensors[name][3, 2, 4, 5] = value
        else:
            tensors[name][2] = value
    return [None if t is None else t.to(dtype).requires_grad_() for t in tensors.values()]


def fused(x, residual, slope, weight, bias, training=True, low_memory=True):
    running = torch.full((2, x.size(1)), 0.5, dtype=x.dtype, device=x.device)
    return fused_add(x, residual, slope, *running, weight, bias, training, low_memory=low_memory)


def kept(function, *inputs):
    """The result, and which of the input and the output its graph holds."""
    storages = set()
    with saved_tensors_hooks(lambda t: storages.add(t.untyped_storage()._cdata) or t, lambda t: t):
        y = function(*inputs)
    return y, {name for name, t in (("input", inputs[0]), ("output", y)) if t.untyped_storage()._cdata in storages}


def gradients(y, inputs, upstream):
    return grad(y, [t for t in inputs if t is not None], upstream)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("changed", [{}, {"residual": None}, {"weight": None}, {"bias": None}, {"slope": 0.01}])
def test_gradients_are_those_in_float64(changed, dtype, training):
    for layout in LAYOUTS:
        inputs = arguments(dtype, layout, **changed)
        wide = [None if t is None else t.detach().double().requires_grad_() for t in inputs]
        upstream = torch.randn_like(inputs[0])
        y, holds = kept(lambda *t: fused(*t, training=training), *inputs)
        assert "output" in holds
        assert "input" not in holds
        assert torch.equal(y, fused(*inputs, training=training, low_memory=False))
        ours = gradients(y, inputs, upstream)
        exact = gradients(fused(*wide, training=training, low_memory=False), wide, upstream.double())
        theirs = gradients(fused(*inputs, training=training, low_memory=False), inputs, upstream)
        for one, other, reference in zip(ours, theirs, exact, strict=True):
            assert one.dtype is dtype
            rounding = (other - reference).norm()  # signs of z near 0 among it
            assert (one - reference).norm() <= 1.2 * rounding + ERROR[dtype] * reference.norm()
        again = gradients(fused(*inputs, training=training), inputs, upstream)
        assert all(map(torch.equal, ours, again))


@pytest.mark.parametrize(
    "changed",
    [
        *({"slope": value} for value in (-0.25, 0.0, 0.0009, 1100.0, math.nan, math.inf)),
        *({"weight": value} for value in (0.0, 1e-9, math.nan)),
        *({"bias": value} for value in (2000.0, math.nan)),
        *({"residual": value} for value in (2000.0, math.nan, -math.inf)),
    ],
    ids=str,
)
def test_the_input_is_kept_where_inversion_would_not_be_safe(changed):
    inputs = arguments(torch.float32, **changed)
    y, holds = kept(fused, *inputs)
    assert "input" in holds
    upstream, plain = torch.randn_like(y), fused(*inputs, low_memory=False)
    theirs = gradients(plain, inputs, upstream)
    torch.testing.assert_close(gradients(y, inputs, upstream), theirs, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("dtype", DTYPES)
def test_prelu_alone(dtype):
    for dim, slopes in ((1, 4), (-1, 9), (1, 1)):
        x, upstream = torch.randn(2, 6, 4, 9, 9).to(dtype)
        x, a = x.requires_grad_(), torch.full((slopes,), 0.25, dtype=dtype, requires_grad=True)

        def prelu(x, a, low_memory=True, dim=dim):
            return sw.functional.prelu(x, a, channel_dim=dim, low_memory=low_memory)

        y, holds = kept(prelu, x, a)
        assert holds == {"output"}
        ours, theirs = (gradients(out, [x, a], upstream) for out in (y, prelu(x, a, low_memory=False)))
        assert torch.equal(ours[0], theirs[0])
        assert (ours[1] - theirs[1]).norm() <= ERROR[dtype] * x.numel() ** 0.5
        assert kept(prelu, x, -a)[1] == {"input"}


@pytest.mark.parametrize("training", [True, False])
def test_derivatives_of_every_order(training):
    inputs = [t.detach()[:2, :, :2, :1].clone().requires_grad_() for t in arguments(torch.float64)[:2]]
    inputs += arguments(torch.float64)[2:]
    assert gradcheck(lambda *t: fused(*t, training=training), inputs, check_batched_grad=True)
    assert gradgradcheck(lambda *t: fused(*t, training=training), inputs, fast_mode=True)
    assert gradgradcheck(lambda x, a: sw.functional.prelu(x, a, low_memory=True), [inputs[0], inputs[2]])


def test_running_statistics_are_those_of_batch_norm():
    x = torch.randn(8, 4, 5, 5, requires_grad=True)
    layer, bn = sw.BatchNormPReLU2d(4, low_memory=True), nn.BatchNorm2d(4)
    (layer(x).sum() + layer(x + 1).sum()).backward()
    bn(x), bn(x + 1)
    for one, other in zip(layer.buffers(), bn.buffers(), strict=True):
        assert torch.equal(one, other)
        assert not one.requires_grad


def test_the_meta_device_shows_what_another_device_would_keep():
    inputs = [t.detach().to("meta").requires_grad_() for t in arguments(torch.float32)]
    y, holds = kept(fused, *inputs)
    assert holds == {"output"}
    assert [t.shape for t in gradients(y, inputs, torch.empty_like(y))] == [t.shape for t in inputs]


@pytest.mark.parametrize(("device", "keeps"), [("cpu", "input"), ("meta", "output")])
def test_by_default_the_output_is_kept_on_devices_where_memory_is_scarcer_than_time(device, keeps):
    x, *others = [t.detach().to(device).requires_grad_() for t in arguments(torch.float32)]
    assert keeps in kept(lambda x: fused(x, *others, low_memory=None), x)[1]
    assert keeps in kept(lambda x: sw.functional.prelu(x, others[1], low_memory=None), x)[1]


def test_under_autocast_the_slopes_are_cast_as_by_prelu():
    x = torch.randn(6, 4, 9, 9, dtype=torch.bfloat16, requires_grad=True)
    a = torch.full((4,), 0.25, requires_grad=True)
    with torch.autocast("cpu"):
        y, holds = kept(lambda x, a: sw.functional.prelu(x, a, low_memory=True), x, a)
        expected = F.prelu(x, a)
    assert holds == {"output"}
    assert torch.equal(y, expected)
    ours, theirs = (gradients(out, [x, a], torch.ones_like(out)) for out in (y, expected))
    assert torch.equal(ours[0], theirs[0])
    torch.testing.assert_close(ours[1], theirs[1], rtol=0.02, atol=0)
    with torch.autocast("cpu"):  # it computes in bfloat16, and so keeps what PyTorch does
        assert kept(lambda x, a: sw.functional.prelu(x, a, low_memory=True), x.detach().float(), a)[0].dtype == y.dtype


def test_an_output_changed_in_place_is_an_error_that_says_what_to_do():
    x, _, slope, *_ = arguments(torch.float32)
    y = fused(x, None, slope, None, None)
    y.mul_(2)
    with pytest.raises(RuntimeError, match=r"modified by an inplace operation(.|\n)*set low_memory=False"):
        y.sum().backward()


@pytest.mark.parametrize("function", ["fused", "prelu"])
def test_an_infinite_gradient_spoils_no_other(function):
    x = torch.randn(4, 8, 16, 16)
    x[0, 0, 0, 0] = 2.0
    upstream = torch.ones_like(x)
    upstream[0, 0, 0, 0] = math.inf  # what a loss scale that is too large makes
    results = []
    for low_memory in (True, False):
        x, slope = x.detach().requires_grad_(), torch.full((8,), 0.5, requires_grad=True)
        with sw.ops.use_kernels(enabled=False):
            if function == "prelu":
                y = sw.functional.prelu(x, slope, low_memory=low_memory)
            else:
                y = fused_add(x, None, slope, torch.zeros(8), torch.ones(8), training=False, low_memory=low_memory)
            results.append(grad(y, (x, slope), upstream))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    assert results[0][0][0, 0, 0, 0] == math.inf
