"""Under autocast, the types that PyTorch's PReLU and BatchNorm give, with gradients in the types of the parameters."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd import grad

import slopewise as sw

from ..in_order import fused_add

pytestmark = pytest.mark.usefixtures("kernels")
DTYPES = [torch.float32, torch.bfloat16, torch.float64, torch.float16]


def run(function, inputs, cast_to):
    inputs = [None if t is None else t.detach().requires_grad_() for t in inputs]
    with torch.autocast("cpu", cast_to):
        y = function(*inputs)
    return [y.detach(), *grad(y.float().square().sum(), [t for t in inputs if t is not None])]


def near(ours, theirs, relative):
    """Of the same types, and as near as the rounding of bfloat16, which PyTorch does once an operation, allows."""
    for one, other in zip(ours, theirs, strict=True):
        assert one.dtype == other.dtype
        assert (one.double() - other.double()).norm() <= relative * other.double().norm()


@pytest.mark.parametrize("low_memory", [False, True])
@pytest.mark.parametrize("cast_to", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("dtype", "slope_dtype"), [*((d, d) for d in DTYPES), (torch.bfloat16, torch.float32)])
def test_prelu(dtype, slope_dtype, cast_to, low_memory, operators):
    x, slope = torch.randn(4, 3, 5, 5).to(dtype), torch.tensor([0.1, 0.5, 1.5], dtype=slope_dtype)
    with operators() as used:
        ours = run(lambda *inputs: sw.functional.prelu(*inputs, low_memory=low_memory), (x, slope), cast_to)
    theirs = run(F.prelu, (x, slope), cast_to)
    near(ours[:2], theirs[:2], relative=0)
    near(ours[2:], theirs[2:], relative=0.01)
    if dtype != torch.float64:
        assert bool(used) == (dtype != torch.float16 and ours[0].dtype == torch.bfloat16)


@pytest.mark.parametrize(("dtype", "slope_dtype"), [(torch.float32, torch.float64), (torch.float64, torch.float32)])
def test_prelu_refuses_what_autocast_does_not_cast(dtype, slope_dtype):
    with torch.autocast("cpu", torch.bfloat16), pytest.raises(TypeError, match=r"the input is .* and the slopes are"):
        sw.functional.prelu(torch.ones(4, 3, dtype=dtype), torch.ones(3, dtype=slope_dtype))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("residual", [None, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_batch_norm_prelu(dtype, residual, training, pair, operators):
    x = torch.randn(6, 3, 5, 5).to(dtype)
    added = None if residual is None else torch.randn(6, 3, 5, 5).to(residual)
    slope, weight, bias = torch.tensor([[0.1, 0.5, 1.5], [1.0, 2.0, -1.0], [0.0, 1.0, 2.0]])

    def call(function):
        moments = torch.tensor([[0.0] * 3, [1.0] * 3])

        def forward(x, residual, slope, weight, bias):
            return function(x, residual, slope, *moments, weight, bias, training)

        return [*run(forward, (x, added, slope, weight, bias), torch.bfloat16), moments]

    with operators() as used:
        ours = call(fused_add)
    near(ours, call(pair), relative=0.01)
    assert bool(used) == (dtype == torch.bfloat16 and residual in {None, torch.bfloat16})


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_network_of_float32_parameters_trains_alike(layout, operators):
    def train(fused):
        torch.manual_seed(0)
        layers = []
        for channels in (3, 8):
            layers.append(nn.Conv2d(channels, 8, 3, padding=1, bias=False))
            layers += [sw.BatchNormPReLU2d(8)] if fused else [nn.BatchNorm2d(8), nn.PReLU(8)]
        model = nn.Sequential(*layers, nn.Conv2d(8, 4, 1)).to(memory_format=layout)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(5):
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16):
                loss = model(x).float().square().mean()
            loss.backward()
            optimizer.step()
        return [p.detach() for p in model.parameters()]

    x = torch.randn(16, 3, 8, 8).contiguous(memory_format=layout)
    with operators() as used:
        ours = train(fused=True)
    assert used == ["batch_norm_prelu", "batch_norm_prelu", *["batch_norm_prelu_backward"] * 2] * 5
    near(ours, train(fused=False), relative=0.02)
