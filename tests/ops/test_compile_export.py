"""torch.compile keeps the operators whole, and trains alike; export takes them apart, and needs no slopewise."""

import io
import shutil

import pytest
import torch
from torch._dynamo.backends.common import aot_autograd
from torch.fx.experimental.proxy_tensor import make_fx

import slopewise as sw

torch_warns = pytest.mark.filterwarnings("ignore")  # compilers and exporters raise warnings in their own code
pytestmark = [pytest.mark.usefixtures("kernels"), torch_warns]


class Block(torch.nn.Module):
    """Every way to the operators: PReLU, and the fused one with and without a residual."""

    def __init__(self, *, slopes=3, low_memory=False):
        super().__init__()
        torch.manual_seed(0)
        self.act = sw.PReLU(slopes, low_memory=low_memory)
        self.conv = torch.nn.Conv2d(3, 3, 3, padding=1)
        self.first = sw.BatchNormPReLU2d(3, num_parameters=slopes, low_memory=low_memory)
        self.last = sw.BatchNormPReLU2d(3, num_parameters=slopes, init=0.1, low_memory=low_memory)

    def forward(self, x):
        x = self.act(x)
        return self.last(self.conv(self.first(x)), x)


@pytest.fixture(autouse=True)
def fresh():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def pictures(count=4):
    return torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def names(graph):
    operators = {node.target for node in graph.nodes if isinstance(node.target, torch._ops.OpOverload)}
    return {target._schema.name.removeprefix("slopewise::") for target in operators if target.namespace == "slopewise"}


def train(model, call, batches):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    outputs = []
    for batch in batches:
        optimizer.zero_grad()
        x = batch.clone().requires_grad_()
        y = call(x)
        y.square().mean().backward()
        optimizer.step()
        outputs += [y.detach(), x.grad]
    return [*outputs, *model.state_dict().values()]


def trains_alike(backend, dynamic=None, **options):
    batches = [pictures(), pictures(), pictures(6)]
    compiled, eager = Block(**options), Block(**options)
    call = torch.compile(compiled, fullgraph=True, backend=backend, dynamic=dynamic)
    for ours, theirs in zip(train(compiled, call, batches), train(eager, eager, batches), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("options", [{}, {"slopes": 1, "low_memory": True}])
def test_the_graphs_hold_the_operators(options):
    seen = []

    def keep(graph, inputs):
        seen.append(names(graph.graph))
        return graph

    trains_alike(aot_autograd(fw_compiler=keep), dynamic=False, **options)
    assert seen[:2] == [{"prelu", "batch_norm_prelu"}, {"prelu_backward", "batch_norm_prelu_backward"}]


def test_dynamic_shapes_need_no_second_graph():
    compiled, eager = Block(), Block()
    call = torch.compile(compiled, fullgraph=True, backend="aot_eager", dynamic=True)
    train(compiled, call, [pictures()])
    train(eager, eager, [pictures()])
    with torch.compiler.set_stance("fail_on_recompile"):
        runs = zip(train(compiled, call, [pictures(6)]), train(eager, eager, [pictures(6)]), strict=True)
    for ours, theirs in runs:
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("c++") is None, reason="inductor needs a C++ compiler")
@pytest.mark.parametrize("dynamic", [False, True])
def test_inductor_trains_alike(dynamic):
    trains_alike("inductor", dynamic)


def test_evaluation_under_autocast_and_transforms_compile():
    model = Block().eval()

    def cast(x):
        with torch.autocast("cpu", torch.bfloat16):
            return model(x)

    def plainly(x):
        with torch.no_grad():
            return model(x)

    def mapped(x):
        return torch.func.vmap(lambda sample: model(sample))(x.unsqueeze(1))  # noqa: PLW0108 (to trace a module's name fails)

    for function in (plainly, cast, mapped, torch.func.grad(lambda x: model(x).sum())):
        compiled = torch.compile(function, fullgraph=True, backend="aot_eager")(pictures())
        torch.testing.assert_close(compiled, function(pictures()))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("strict", [True, False])
def test_export_takes_the_operators_apart(strict, training):
    model = Block().train(training)
    batch = torch.export.Dim("batch", min=2)
    program = torch.export.export(model, (pictures(),), dynamic_shapes=({0: batch},), strict=strict)
    assert names(program.graph) == set()
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    loaded = torch.export.load(file).module()
    model, twice = Block().train(training), pictures(9)
    for _ in range(2):
        torch.testing.assert_close(loaded(twice), model(twice))
    for name, ours in loaded.state_dict().items():
        torch.testing.assert_close(ours, model.state_dict()[name])


def test_make_fx_records_the_operators():
    def step(x, slope):
        y = sw.functional.prelu(sw.functional.batch_norm_prelu(x, None, None, training=True, slope=slope), slope)
        return torch.autograd.grad(y.sum(), (x, slope))

    inputs = pictures().requires_grad_(), torch.full((3,), 0.25, requires_grad=True)
    graph = make_fx(step)(*inputs)
    assert names(graph.graph) == {"prelu", "batch_norm_prelu", "prelu_backward", "batch_norm_prelu_backward"}
    torch.testing.assert_close(graph(*inputs), step(*inputs))


def test_jit_trace_records_what_it_can_save():
    model = Block().eval()
    traced = torch.jit.trace(model, (pictures(),))
    assert "slopewise::" not in str(traced.inlined_graph)
    torch.testing.assert_close(traced(pictures(7)), model(pictures(7)))
