"""Calls that the kernels take; bad arguments get the same message with and without the kernels."""

import pytest
import torch

import slopewise as sw
from slopewise.ops import _batch_norm_prelu, _prelu

from ..in_order import fused, fused_add

pytestmark = pytest.mark.usefixtures("kernels")
prelu = sw.functional.prelu
X, SLOPE, MOMENTS = torch.randn(4, 3, 5), torch.tensor([0.1, 0.5, -1.0]), torch.ones(2, 3)


class Tagged(torch.Tensor):
    """A subclass, which may mean anything by its operations."""


TAKEN = {
    "prelu": lambda: prelu(X, SLOPE),
    "prelu of a parameter": lambda: prelu(torch.nn.Parameter(X), torch.nn.Parameter(SLOPE)),
    "prelu of a scalar": lambda: prelu(X[0, 0, 0], SLOPE[:1]),
    "prelu of a scalar slope": lambda: prelu(X, SLOPE[0]),
    "prelu of a buffer": lambda: prelu(torch.nn.Buffer(X), SLOPE),
    "prelu in bfloat16": lambda: prelu(X.bfloat16(), SLOPE.bfloat16()),
    "fused, training": lambda: fused(X, SLOPE, None, None, training=True),
    "fused, evaluation": lambda: fused(X, SLOPE, *MOMENTS),
    "fused, with a residual": lambda: fused_add(X, X, SLOPE, *MOMENTS),
    "fused, a number for a slope": lambda: fused(X, 0.1, *MOMENTS),
    "fused, bfloat16 with float32 parameters": lambda: fused(X.bfloat16(), SLOPE, *MOMENTS, SLOPE, SLOPE),
    "fused, bfloat16": lambda: fused(X.bfloat16(), SLOPE.bfloat16(), *MOMENTS.bfloat16(), SLOPE.bfloat16()),
}
LEFT = {
    "prelu of nothing": lambda: prelu(X[:0], SLOPE),
    "prelu in float16": lambda: prelu(X.half(), SLOPE.half()),
    "prelu of a subclass": lambda: prelu(X.as_subclass(Tagged), SLOPE),
    "prelu on another device": lambda: prelu(X.to("meta"), SLOPE.to("meta")),
    "fused, of nothing": lambda: fused(X[:0], SLOPE, *MOMENTS),
    "fused, in float16": lambda: fused(X.half(), SLOPE, *MOMENTS),
    "fused, of a subclass": lambda: fused(X.as_subclass(Tagged), SLOPE, *MOMENTS),
    "fused, with a residual of another type": lambda: fused_add(X, X.bfloat16(), SLOPE, *MOMENTS),
    "fused, slopes in float16": lambda: fused(X, SLOPE.half(), *MOMENTS),
}


@pytest.mark.parametrize("call", TAKEN.values(), ids=TAKEN)
def test_taken(call, operators):
    with operators() as used:
        taken = call()
    assert len(used) == 1
    with sw.ops.use_kernels(enabled=False):
        with operators() as used:
            left = call()
        assert used == []
    torch.testing.assert_close(taken, left)


@pytest.mark.parametrize("call", LEFT.values(), ids=LEFT)
def test_left_to_pytorch(call, operators):
    with operators() as used:
        output = call()
    assert used == []
    with sw.ops.use_kernels(enabled=False):
        expected = call()
    assert (type(output), output.shape, output.dtype) == (type(expected), expected.shape, expected.dtype)


@pytest.mark.parametrize(
    ("module", "call"),
    [(_prelu, lambda x: prelu(x, SLOPE[:1])), (_batch_norm_prelu, lambda x: fused(x, 0.1, None, None, training=True))],
)
def test_small_tensors_take_the_cheaper_path(module, call, monkeypatch, operators):
    monkeypatch.setattr(module, "_SMALLEST", 64)
    for rows, expected in ((7, 0), (8, 1), (9, 1)):
        with operators() as used:
            y = call(torch.randn(rows, 8, requires_grad=True))
            y.sum().backward()
        assert len(used) == 2 * expected


LONG = torch.ones(4)
REFUSED = [
    lambda x: prelu(x, LONG),
    lambda x: prelu(x, SLOPE[:2]),
    lambda x: prelu(x, SLOPE, channel_dim=7),
    lambda x: prelu(x, SLOPE, channel_dim=-4),
    lambda x: prelu(x, SLOPE.view(3, 1)),
    lambda x: prelu(x, SLOPE.double()),
    lambda x: prelu(x.bfloat16(), SLOPE),
    lambda x: prelu(x.flatten(), SLOPE),
    lambda x: fused(x, SLOPE, None, None),
    lambda x: fused(x, SLOPE, MOMENTS[0], None),
    lambda x: fused(x, SLOPE, MOMENTS[0], None, training=True),
    lambda x: fused(x, SLOPE, None, MOMENTS[0], training=True),
    lambda x: fused(x, LONG, *MOMENTS),
    lambda x: fused(x, SLOPE.view(3, 1), *MOMENTS),
    lambda x: fused(x, SLOPE, LONG, LONG),
    lambda x: fused(x, SLOPE, MOMENTS[0], LONG),
    lambda x: fused(x, SLOPE, *MOMENTS, LONG),
    lambda x: fused(x, SLOPE, *MOMENTS, None, LONG),
    lambda x: fused(x, SLOPE, *MOMENTS.double()),
    lambda x: fused(x, SLOPE, *MOMENTS, SLOPE.bfloat16()),
    lambda x: fused(x, SLOPE, *MOMENTS, SLOPE.half()),
    lambda x: fused(x.double(), SLOPE, *MOMENTS),
    lambda x: fused(x.flatten(), SLOPE, *MOMENTS),
    lambda x: fused(x, "steep", *MOMENTS),
    lambda x: fused(x, SLOPE, None, None, training=True, eps=0.0),
    lambda x: fused(x[:1, :, 0], SLOPE, None, None, training=True),
    lambda x: fused_add(x, x[:1], SLOPE, *MOMENTS),
    lambda x: fused_add(x, x[:, :1], SLOPE, *MOMENTS),
]


@pytest.mark.parametrize("number", range(len(REFUSED)))
def test_refusals_are_the_same_with_and_without_kernels(number):
    errors = []
    for enabled in (True, False):
        with sw.ops.use_kernels(enabled=enabled), pytest.raises((ValueError, TypeError, RuntimeError)) as caught:
            REFUSED[number](X)
        errors.append((type(caught.value), str(caught.value)))
    assert errors[0] == errors[1]
    assert "slopewise:" not in errors[0][1]  # the kernels' own words
