"""The same bits in every run and for any number of threads."""

import pytest
import torch
from torch.autograd import grad

import slopewise as sw

from ..in_order import fused, fused_add

pytestmark = pytest.mark.usefixtures("kernels")
THREADS = [1, 2, 3, 2]  # more than the cores of small machines, too, and one twice


def same(runs):
    first, *others = runs
    for other in others:
        for one, another in zip(first, other, strict=True):
            assert torch.equal(one, another)


def leaves(*tensors):
    return [t.detach().requires_grad_() for t in tensors]


@pytest.mark.parametrize(
    ("dtype", "low_memory"),
    [(torch.float32, False), (torch.float32, True), (torch.bfloat16, False), (torch.float64, True)],
)
def test_prelu(large, dtype, low_memory, threads):
    x, upstream = large(dtype), large(dtype, 1)
    runs = []
    for count in THREADS:
        threads(count)
        run = []
        for slope in (torch.full((1,), 0.3, dtype=dtype), torch.linspace(0.1, 1.2, x.size(1)).to(dtype)):
            inputs = leaves(x, slope)
            y = sw.functional.prelu(*inputs, low_memory=low_memory)
            run += [y, *grad(y, inputs, upstream)]
        runs.append(run)
    same(runs)


@pytest.mark.parametrize(
    ("dtype", "low_memory"),
    [(torch.float32, False), (torch.float32, True), (torch.bfloat16, False), (torch.float64, True)],
)
def test_batch_norm_prelu(large, dtype, low_memory, threads):
    x, residual, upstream = large(dtype), large(dtype, 1).clamp(-1, 1), large(dtype, 2)
    slope, weight, bias = torch.linspace(0.1, 1.2, x.size(1)).to(dtype).repeat(3, 1)
    runs = []
    for count in THREADS:
        threads(count)
        inputs = leaves(x, residual, slope, weight, bias)
        moments = torch.zeros(2, x.size(1), dtype=dtype)
        trained = fused_add(*inputs[:3], *moments, *inputs[3:], training=True, low_memory=low_memory)
        evaluated = fused(inputs[0], inputs[2], *moments)
        grads = grad(trained, inputs, upstream), grad(evaluated, [inputs[0], inputs[2]], upstream)
        runs.append([trained, evaluated, moments, *grads[0], *grads[1]])
    same(runs)


# One thread takes channels by the page, several threads only where these can be dealt out evenly: 5 among 3 cannot.
@pytest.mark.parametrize("shape", [(9, 5, 40, 40), (12, 5, 130, 140), (70, 48, 7, 7), (300, 64, 6, 6)])
def test_channels_by_channels_or_all_at_once(shape, threads):
    x, residual, upstream = (torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in range(3))
    slope, weight, bias = torch.linspace(0.1, 1.2, shape[1]).repeat(3, 1)
    runs = []
    for count in THREADS:
        threads(count)
        run = []
        for low_memory in (False, True):
            inputs = leaves(x, residual.clamp(-1, 1), slope, weight, bias)
            y = fused_add(*inputs[:3], None, None, *inputs[3:], training=True, low_memory=low_memory)
            run += [y, *grad(y, inputs, upstream)]
        runs.append(run)
    same(runs)


class Shuffled(torch.nn.Module):
    """Fused layers with what moves numbers without adding any: the sums of convolutions may depend on threads."""

    def __init__(self, low_memory):
        super().__init__()
        self.first = sw.BatchNormPReLU2d(24, low_memory=low_memory)
        inner = (sw.BatchNormPReLU2d(24, num_parameters=1, low_memory=low_memory) for _ in range(4))
        self.inner = torch.nn.ModuleList(inner)
        self.last = sw.PReLU(96, low_memory=low_memory)

    def forward(self, x):
        x = self.first(x)
        for step, layer in enumerate(self.inner, start=1):
            x = layer(x.roll((1, step, -step), (1, 2, 3)), residual=x)
        return self.last(torch.nn.functional.pixel_unshuffle(x, 2))


@pytest.mark.parametrize("low_memory", [False, True])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_training_run(layout, low_memory, threads):
    batches = torch.randn(3, 8, 24, 28, 28)
    runs = []
    for count in THREADS[:3]:
        threads(count)
        model = Shuffled(low_memory)
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
        for batch in batches:
            optimizer.zero_grad()
            y = model(batch.contiguous(memory_format=layout))
            y.backward(y.detach() * 1e-3)  # of half the mean square, which threads would sum in orders of their own
            optimizer.step()
        runs.append([y, *model.state_dict().values()])
    same(runs)
    assert not torch.equal(runs[0][1], torch.ones(24))  # it has learned
