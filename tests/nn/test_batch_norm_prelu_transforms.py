"""The fused layers under PyTorch's own machinery: tracing, export, compilation, functional transforms."""

import shutil

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, vmap

import slopewise as sw

torch_warns = pytest.mark.filterwarnings("ignore")  # compilers and exporters raise warnings in their own code
OPTIONS = [{}, {"bounds": (0.0, 0.5)}, {"learnable": False}, {"momentum": None}, {"low_memory": True}]


class Residual(nn.Module):
    """A fused layer with and one without a residual."""

    def __init__(self, train, **options):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.first, self.last = (sw.BatchNormPReLU2d(3, init=[0.1, 0.3, 0.4], **options) for _ in range(2))
        self.train(train)

    def forward(self, x):
        return self.last(self.conv(self.first(x)), x)


def pictures(count=4):
    return torch.randn(count, 3, 6, 6, generator=torch.Generator().manual_seed(0))


def same_state(one, whole):
    """Every tensor of `one` is as in `whole`; a traced module has those alone that its graph uses."""
    for name, tensor in one.state_dict().items():
        torch.testing.assert_close(tensor, whole.state_dict()[name])


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("options", OPTIONS)
def test_symbolic_tracing_keeps_one_node_a_layer_and_the_counting(options, train):
    model, reference = Residual(train, **options), Residual(train, **options)
    traced = torch.fx.symbolic_trace(model)
    same_state(model, reference)  # tracing itself is no forward pass
    targets = [node.target for node in traced.graph.nodes]
    assert targets.count(sw.functional.batch_norm_add_prelu) == 2
    for _ in range(2):
        torch.testing.assert_close(traced(pictures()), reference(pictures()))
    same_state(traced, reference)
    if train:
        assert traced.get_buffer("first.num_batches_tracked") == 2


def test_symbolic_tracing_of_a_block_and_of_the_functions():
    block = sw.ConvBNPReLU(3, 3).eval()
    traced = torch.fx.symbolic_trace(block)  # whose residual stays an argument
    torch.testing.assert_close(traced(pictures()), block(pictures()))
    torch.testing.assert_close(traced(pictures(), pictures()), block(pictures(), pictures()))

    def function(x, mean, var):
        return sw.functional.batch_norm_prelu(x, mean, var, slope=0.1)

    graph = torch.fx.symbolic_trace(function).graph
    assert [node.target for node in graph.nodes].count(sw.functional.batch_norm_prelu) == 1


@torch_warns
@pytest.mark.parametrize("options", [{}, {"learnable": False}, {"low_memory": True}])
def test_jit_trace(options):
    model = Residual(train=False, **options)
    torch.testing.assert_close(torch.jit.trace(model, (pictures(),))(pictures()), model(pictures()))


@torch_warns
@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("options", [option for option in OPTIONS if "momentum" not in option])
def test_export(options, train):
    model, reference = Residual(train, **options), Residual(train, **options)
    batch = torch.export.Dim("batch")
    program = torch.export.export(model, (pictures(),), dynamic_shapes=({0: batch},))
    module = program.run_decompositions().module()
    torch.testing.assert_close(module(pictures(9)), reference(pictures(9)))
    if not train:
        assert not [name for name in program.graph_signature.buffers_to_mutate.values() if name]


def backends():
    compiler = pytest.mark.skipif(shutil.which("c++") is None, reason="inductor needs a C++ compiler")
    return ["aot_eager", pytest.param("inductor", marks=compiler)]


@pytest.mark.slow
@torch_warns
@pytest.mark.parametrize("backend", backends())
@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("options", [option for option in OPTIONS if "momentum" not in option])
def test_compiles_whole_and_trains_alike(options, train, backend):
    def steps(compiled):
        model = Residual(train, **options)
        call = torch.compile(model, fullgraph=True, backend=backend) if compiled else model
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
        losses = []
        for _ in range(3):
            optimizer.zero_grad()
            loss = call(pictures()).square().mean()
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        return torch.stack(losses), model

    torch._dynamo.reset()
    (ours, model), (theirs, reference) = steps(compiled=True), steps(compiled=False)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    for name, tensor in reference.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], tensor, rtol=1e-4, atol=1e-5)


def test_func_grad_and_per_sample_gradients():
    layer = sw.BatchNormPReLU2d(3).eval()
    parameters = {name: p.detach().clone() for name, p in layer.named_parameters()}

    def loss(parameters, x):
        return functional_call(layer, parameters, (x,)).square().sum()

    layer(pictures()).square().sum().backward()
    together = grad(loss)(parameters, pictures())
    samples = vmap(grad(loss), (None, 0))(parameters, pictures().unsqueeze(1))
    for name, parameter in layer.named_parameters():
        torch.testing.assert_close(together[name], parameter.grad)
        torch.testing.assert_close(samples[name].sum(0), parameter.grad)


def test_gradient_checkpointing():
    plain, checkpointed = (sw.BatchNormPReLU2d(3, track_running_stats=False) for _ in range(2))
    plain(pictures()).square().sum().backward()
    torch.utils.checkpoint.checkpoint(checkpointed, pictures(), use_reentrant=False).square().sum().backward()
    for ours, theirs in zip(checkpointed.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)
