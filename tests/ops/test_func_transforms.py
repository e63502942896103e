"""torch.func and forward-mode differentiation go through PyTorch's operations, and agree with the kernels."""

import copy

import pytest
import torch
from torch.autograd import forward_ad
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, stack_module_state, vjp, vmap

import slopewise as sw

pytestmark = [
    pytest.mark.usefixtures("kernels"),
    pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning"),  # torch's forward AD
    pytest.mark.filterwarnings("ignore:An output with one or more elements was resized"),  # torch's prelu, vmapped
]

LAYERS = {
    "prelu": lambda: sw.PReLU(3, init=[0.1, -0.3, 1.5]),
    "prelu, low memory": lambda: sw.PReLU(low_memory=True),
    "fused, evaluation": lambda: sw.BatchNormPReLU2d(3, init=[0.1, -0.3, 1.5]).eval(),
    "fused, training": lambda: sw.BatchNormPReLU2d(3, track_running_stats=False, low_memory=True),
}


@pytest.fixture(params=LAYERS)
def layer(request):
    return LAYERS[request.param]().double()


@pytest.fixture
def x():
    return torch.randn(4, 3, 2, 2, dtype=torch.float64)


def parameters(layer):
    return {name: p.detach().clone() for name, p in layer.named_parameters()}


def close(one, other):
    torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def by_kernels(layer, x, operators):
    """The output, and the gradients of the sum of its squares: of the input and of the parameters."""
    x = x.detach().requires_grad_()
    with operators() as used:
        y = layer(x)
        y.square().sum().backward()
    assert len(used) == 2
    return y.detach(), x.grad, {name: p.grad for name, p in layer.named_parameters()}


def test_gradients(layer, x, operators):
    y, grad_x, grads = by_kernels(layer, x, operators)

    def loss(parameters, x):
        return functional_call(layer, parameters, (x,)).square().sum()

    with operators() as used:
        gradients = grad(loss, argnums=(0, 1))(parameters(layer), x)
        output, pull = vjp(lambda parameters, x: functional_call(layer, parameters, (x,)), parameters(layer), x)
        again = pull(2 * output)
    assert used == []
    close(output, y)
    for one in (gradients, again):
        close(one[0], grads)
        close(one[1], grad_x)


def test_directional_derivatives(layer, x, operators):
    direction, slopes = torch.randn_like(x), parameters(layer)
    tangents = {name: torch.ones_like(p) for name, p in slopes.items()}

    def function(parameters, x):
        return functional_call(layer, parameters, (x,))

    with operators() as used:
        _, forward = jvp(function, (slopes, x), (tangents, direction))
        with forward_ad.dual_level():
            dual = layer(forward_ad.make_dual(x, direction))
            through_x = forward_ad.unpack_dual(dual).tangent
    assert used == []
    y, step = layer(x), 1e-6
    moved = {name: p + step * tangents[name] for name, p in slopes.items()}
    torch.testing.assert_close(forward, (function(moved, x + step * direction) - y) / step, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(through_x, (layer(x + step * direction) - y) / step, rtol=1e-4, atol=1e-4)


def test_jacobians_and_hessian(layer, x, operators):
    slopes = parameters(layer)

    def function(parameters):
        return functional_call(layer, parameters, (x,)).square().sum((0, 2, 3))

    with operators() as used:
        reverse, forward = jacrev(function)(slopes), jacfwd(function)(slopes)
        second = hessian(lambda slopes: function(slopes).sum())(slopes)
    assert used == []
    close(forward, reverse)
    close({name: j.sum(0) for name, j in reverse.items()}, by_kernels(layer, x, operators)[2])
    for name, rows in second.items():
        for other, block in rows.items():
            close(block, second[other][name].T)


def test_samples_and_ensembles(layer, x, operators):
    batches, twin = torch.stack([x, x.flip(0)]), copy.deepcopy(layer)
    with torch.no_grad():
        twin.get_parameter("weight").mul_(-2)
    stacked, buffers = stack_module_state([layer, twin])

    def call(slopes, state, x):
        return functional_call(layer, (slopes, state), (x,))

    def loss(slopes, x):
        return functional_call(layer, slopes, (x,)).square().sum()

    with operators() as used:
        samples = vmap(layer)(batches)
        ensemble = vmap(call)(stacked, buffers, batches)
        grads = vmap(grad(loss), (None, 0))(parameters(layer), batches)
    assert used == []
    close(samples, torch.stack([layer(batch) for batch in batches]))
    close(ensemble, torch.stack([layer(batches[0]), twin(batches[1])]))
    for number, batch in enumerate(batches):
        layer.zero_grad()
        close({name: g[number] for name, g in grads.items()}, by_kernels(layer, batch, operators)[2])
