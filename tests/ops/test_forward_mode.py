"""Forward-mode derivatives against their closed form, at 0 above all: there PyTorch's own prelu says 1 and not a."""

import math

import pytest
import torch
from torch.autograd import forward_ad
from torch.func import functional_call, hessian, jacfwd, jvp, linearize, vjp, vmap

import slopewise as sw

pytestmark = [
    pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning"),  # torch's forward AD
    pytest.mark.filterwarnings("ignore:An output with one or more elements was resized"),  # torch's prelu, vmapped
    pytest.mark.filterwarnings("ignore:Attempted to insert a get_attr Node"),  # torch's linearize
]

SLOPES = torch.tensor([0.1, -0.3, 1.5])
VALUES = torch.tensor([0.0, -0.0, 1.0, -2.0, 1e-30, -1e-30, math.inf, -math.inf])


# All values in every channel: in a batch that PyTorch's own operations take, and in one for the kernels.
SIZES = {
    "small": VALUES.reshape(-1, 1, 1, 1).repeat(1, 3, 1, 1),
    "large": VALUES.reshape(-1, 1, 1, 1).repeat(1, 3, 40, 40),
}


def fused(**arguments):
    """BatchNorm is the identity."""
    return sw.BatchNormPReLU2d(3, init=SLOPES, eps=1e-45, **arguments).eval()


def block():
    """So are the convolution and the BatchNorm."""
    layer = sw.ConvBNPReLU(3, 3, 1, init=SLOPES, eps=1e-45).eval()
    with torch.no_grad():
        layer.conv.weight.copy_(torch.eye(3)[:, :, None, None])
    return layer


LAYERS = {
    "shared": (lambda: sw.PReLU(init=0.3), torch.tensor([0.3] * 3)),
    "per channel": (lambda: sw.PReLU(3, init=SLOPES), SLOPES),
    "another dimension": (lambda: sw.PReLU(3, init=SLOPES, channel_dim=-3), SLOPES),
    "low memory": (lambda: sw.PReLU(3, init=SLOPES.abs(), low_memory=True), SLOPES.abs()),
    "bounds": (lambda: sw.PReLU(3, init=[0.1, 0.2, 0.9], bounds=(0.0, 1.0)).eval(), torch.tensor([0.1, 0.2, 0.9])),
    "fused": (fused, SLOPES),
    "fused, low memory": (lambda: fused(low_memory=True), SLOPES),
    "fixed": (lambda: sw.BatchNormPReLU2d(3, init=0.3, eps=1e-45, learnable=False).eval(), torch.tensor([0.3] * 3)),
}


def dual(function, x, tangent):
    with forward_ad.dual_level():
        return forward_ad.unpack_dual(function(forward_ad.make_dual(x, tangent))).tangent


def compiled(function, x, tangent):
    return torch.compile(lambda x, t: jvp(function, (x,), (t,))[1], backend="eager")(x, tangent)


def compiled_dual(function, x, tangent):
    return torch.compile(lambda x, t: dual(function, x, t), backend="eager")(x, tangent)


WAYS = {
    "jvp": lambda function, x, tangent: jvp(function, (x,), (tangent,))[1],
    "dual": dual,
    "linearize": lambda function, x, tangent: linearize(function, x)[1](tangent),
    "vmap": lambda function, x, tangent: vmap(lambda t: jvp(function, (x,), (t,))[1])(torch.stack([tangent] * 2))[1],
    "compiled": compiled,
    "compiled dual": compiled_dual,
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("way", ["jvp", "dual"])
def test_every_layer(way, name, size):
    make, slopes = LAYERS[name]
    layer = make()
    x = SIZES[size]
    tangent = torch.full_like(x, 2.0)
    expected = torch.where(x > 0, 2.0, 2.0 * slopes.reshape(3, 1, 1))
    assert torch.equal(WAYS[way](layer, x, tangent), expected)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("way", WAYS)
def test_every_way(way, size):
    compiles = "compiled" in way  # within which torch.func.jvp of torch's own batch_norm is an error (2.13)
    for layer in (sw.PReLU(3, init=SLOPES), *(() if compiles else (fused(),))):
        x = SIZES[size]
        expected = torch.where(x > 0, 1.0, SLOPES.reshape(3, 1, 1)).expand_as(x)
        tangent_out = WAYS[way](layer, x, torch.ones_like(x))
        torch.testing.assert_close(tangent_out, expected, rtol=0, atol=0)


def test_the_block_and_a_residual():
    x = torch.zeros(2, 3, 4, 4)
    expected = SLOPES.reshape(3, 1, 1).expand_as(x)
    assert torch.equal(jvp(block(), (x,), (torch.ones_like(x),))[1], expected)
    assert torch.equal(jvp(fused(), (x, x), (torch.ones_like(x), torch.ones_like(x)))[1], 2 * expected)


def test_jacobian_and_hessian_at_0():
    """f = a·x there, whichever way it is differentiated."""
    x, slopes = torch.zeros(1, 3), SLOPES.clone()
    assert torch.equal(jacfwd(lambda x: sw.functional.prelu(x, slopes))(x).squeeze(), torch.diag(SLOPES))
    (_, mixed), (mixed_too, _) = hessian(lambda x, a: sw.functional.prelu(x, a).sum(), argnums=(0, 1))(x, slopes)
    assert torch.equal(mixed.squeeze(), torch.eye(3))
    assert torch.equal(mixed_too.squeeze(), torch.eye(3))


def test_of_the_slope_it_is_the_input_that_is_not_positive():
    x, slopes = VALUES[:6].reshape(-1, 1).expand(-1, 3).clone(), SLOPES.clone()
    for tangent in (torch.ones(3), torch.tensor([0.0, 1.0, -2.0])):
        tangent_out = jvp(lambda a: sw.functional.prelu(x, a), (slopes,), (tangent,))[1]
        assert torch.equal(tangent_out, torch.where(x > 0, 0.0, x * tangent))


@pytest.mark.parametrize("gradient", ["sum", "mean"])
def test_forward_and_reverse_are_transposes_of_each_other(gradient):
    """A reverse pass within a forward one, infinities included: its slopes get no NaN."""
    layer = sw.PReLU(init=0.3)
    layer.shared_gradient = gradient
    x = VALUES[:-1].reshape(1, -1).clone()

    def function(weight, x):
        return functional_call(layer, {"weight": weight}, (x,))

    weight = layer.weight.detach()
    _, pull = vjp(function, weight, x)
    from_weight, from_x = pull(torch.ones_like(x))
    forward = jvp(function, (weight, x), (torch.ones(1), torch.zeros_like(x)))[1].sum()
    torch.testing.assert_close(forward, from_weight.squeeze())
    assert torch.equal(jvp(function, (weight, x), (torch.zeros(1), torch.ones_like(x)))[1], from_x)
    with forward_ad.dual_level():
        learned = weight.clone().requires_grad_()
        (again,) = torch.autograd.grad(function(learned, x).sum(), learned)
    torch.testing.assert_close(again, from_weight)


def test_autocast_and_errors_are_those_of_the_function():
    x, slopes = torch.zeros(2, 3), SLOPES.clone()
    with torch.autocast("cpu", torch.bfloat16):
        value, tangent = jvp(lambda x: sw.functional.prelu(x, slopes), (x,), (torch.ones_like(x),))
    assert value.dtype is tangent.dtype is torch.bfloat16
    assert torch.equal(tangent[0], SLOPES.bfloat16())
    with pytest.raises(ValueError, match="2 slopes do not fit an input of shape"):
        jvp(lambda x: sw.functional.prelu(x, torch.ones(2)), (x[:, :1],), (x[:, :1],))
    with pytest.raises(TypeError, match="the input is"):
        jvp(lambda x: sw.functional.prelu(x, torch.ones(3, dtype=torch.float64)), (x,), (x,))
