"""The layer under PyTorch's own machinery: functional transforms, tracing, compilation, export."""

import shutil

import pytest
import torch
import torch.nn.functional as F
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, stack_module_state, vmap

import slopewise as sw

# torch's compilers and exporters raise warnings in their own code; forward AD scripts its decompositions.
torch_warns = pytest.mark.filterwarnings("ignore")
BOUNDED = {"bounds": (0.0, 0.5)}
OPTIONS = [{}, {"channel_dim": -2}, BOUNDED]


@pytest.fixture
def x():
    return torch.randn(4, 3, 5, generator=torch.Generator().manual_seed(0))


def layer_with(options, *values, train=True):
    layer = sw.PReLU(3, **options).train(train)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(values or (0.1, 0.3, 0.4)))
    return layer


@pytest.mark.parametrize("options", OPTIONS)
def test_func_grad_and_per_sample_gradients(x, options):
    layer = layer_with(options)
    slopes = {"weight": layer.weight.detach().clone()}

    def loss(slopes, x):
        return functional_call(layer, slopes, (x,)).square().sum()

    layer(x).square().sum().backward()
    torch.testing.assert_close(grad(loss)(slopes, x)["weight"], layer.weight.grad)
    samples = vmap(grad(loss), (None, 0))(slopes, x.unsqueeze(1))["weight"]
    assert samples.shape == (4, 3)
    torch.testing.assert_close(samples.sum(0), layer.weight.grad)


@pytest.mark.filterwarnings("ignore:An output with one or more elements was resized")  # torch's own prelu, vmapped
def test_vmap_over_inputs_and_over_an_ensemble(x):
    layer = layer_with({})
    assert torch.equal(vmap(layer)(x.unsqueeze(1)).squeeze(1), layer(x))
    layers = [sw.PReLU(3, init=slope) for slope in (0.0, 0.2, 1.5)]
    stacked, buffers = stack_module_state(layers)
    together = vmap(lambda slopes, buffers: functional_call(layers[0], (slopes, buffers), (x,)))(stacked, buffers)
    assert torch.equal(together, torch.stack([layer(x) for layer in layers]))


@torch_warns
@pytest.mark.parametrize("options", [{}, BOUNDED])
def test_forward_and_reverse_derivatives_agree_outside_the_bounds_too(x, options):
    layer = layer_with(options, -2.0, 0.3, 2.0, train=False)
    slopes = {"weight": layer.weight.detach().clone()}

    def loss(slopes):
        return functional_call(layer, slopes, (x,)).square().sum()

    torch.testing.assert_close(jacfwd(loss)(slopes), jacrev(loss)(slopes))
    assert hessian(loss)(slopes)["weight"]["weight"].shape == (3, 3)
    assert grad(lambda x: layer(x).sum())(x).shape == x.shape  # the layer captured, not passed


def test_training_mode_projects_slopes_that_are_passed_and_refuses_captured_ones(x):
    layer = layer_with(BOUNDED)
    slopes = {"weight": torch.tensor([-2.0, 0.3, 2.0])}
    grad(lambda slopes: functional_call(layer, slopes, (x,)).sum())(slopes)
    assert torch.equal(slopes["weight"], torch.tensor([0.0, 0.3, 0.5]))
    with pytest.raises(RuntimeError, match="mutate a captured Tensor"):
        grad(lambda x: layer(x).sum())(x)


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("options", OPTIONS)
def test_symbolic_tracing_keeps_one_node(x, options, train):
    layer = layer_with(options, -2.0, 0.3, 2.0, train=train)
    traced = torch.fx.symbolic_trace(torch.nn.Sequential(layer))
    assert [node.target for node in traced.graph.nodes].count(sw.functional.prelu) == 1
    assert torch.equal(traced(x), layer(x))


@pytest.mark.filterwarnings("ignore:`torch.jit.trace:DeprecationWarning")
def test_jit_trace_raises_no_tracer_warning(x):
    layer = layer_with({})
    assert torch.equal(torch.jit.trace(layer, (x,))(x), layer(x))


@torch_warns
@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("options", OPTIONS)
def test_export(x, options, train):
    layer = layer_with(options, -2.0, 0.3, 2.0, train=train)
    batch = torch.export.Dim("batch")
    program = torch.export.export(layer, (x,), dynamic_shapes=({0: batch},))
    larger = torch.cat([x, -x, x])
    assert torch.equal(program.run_decompositions().module()(larger), layer(larger))


def backends():
    compiler = pytest.mark.skipif(shutil.which("c++") is None, reason="inductor needs a C++ compiler")
    return ["aot_eager", pytest.param("inductor", marks=compiler)]


@pytest.mark.slow
@torch_warns
@pytest.mark.parametrize("backend", backends())
@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("options", OPTIONS)
def test_compiles_whole_and_trains_alike(x, options, train, backend):
    def steps(compiled):
        torch.manual_seed(0)
        layer = layer_with(options, -2.0, 0.3, 2.0, train=train)
        call = torch.compile(layer, fullgraph=True, backend=backend) if compiled else layer
        optimizer = torch.optim.SGD(layer.parameters(), lr=0.05)
        losses = []
        for _ in range(3):
            optimizer.zero_grad()
            loss = call(call(x)).square().mean()
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        return torch.stack(losses), layer.weight.detach(), layer.weight.grad

    torch._dynamo.reset()
    for ours, expected in zip(steps(compiled=True), steps(compiled=False), strict=True):
        torch.testing.assert_close(ours, expected)


@pytest.mark.slow
@torch_warns
def test_compiles_under_autocast_and_with_dynamic_shapes(x):
    torch._dynamo.reset()
    layer = layer_with({"channel_dim": -2})
    call = torch.compile(layer, fullgraph=True, backend="aot_eager", dynamic=True)
    for batch in (x, torch.cat([x, x]), x[:, :, :2]):
        assert torch.equal(call(batch), F.prelu(batch, layer.weight))
    with torch.autocast("cpu", torch.bfloat16):
        assert call(x).dtype == torch.bfloat16
