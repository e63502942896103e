"""PyTorch's own samples for its PReLU and BatchNorm layers, given to the layers that stand in for them."""

import copy
import pickle
import warnings

import pytest
import torch

import slopewise as sw

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # private to PyTorch, and not free of warnings everywhere
    from torch.testing._internal.common_modules import module_db

pytestmark = pytest.mark.usefixtures("kernels")
LAYERS = ["PReLU", "BatchNorm1d", "BatchNorm2d", "BatchNorm3d"]
CLOSE = {"rtol": 1e-9, "atol": 1e-9}


def samples():
    inputs = {"device": "cpu", "dtype": torch.float64, "requires_grad": True}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for info in module_db:
            name = info.name.removeprefix("nn.")
            for training in (True, False) if name in LAYERS else ():
                for sample in info.module_inputs_func(info, **inputs, training=training):
                    yield pytest.param(info, training, sample, id=f"{name}-{training}-{sample.desc}")


SAMPLES = list(samples())


class Pair(torch.nn.Module):
    """Reference of a fused layer."""

    def __init__(self, bn, act):
        super().__init__()
        self.bn, self.act = bn, act

    def forward(self, x, residual=None):
        z = self.bn(x)
        return self.act(z if residual is None else z + residual)


def build(info, training, sample, **options):
    """PyTorch's layer or layers, and ours, with the same values in tensors of their own."""
    args, kwargs = sample.constructor_input.args, sample.constructor_input.kwargs
    stock = info.module_cls(*args, **kwargs, dtype=torch.float64)
    if info.name == "nn.PReLU":
        ours = sw.PReLU(*args, **kwargs, dtype=torch.float64, **options)
        return stock.train(training), ours.train(training)
    with torch.no_grad():
        for value, parameter in enumerate(stock.parameters(), start=1):
            parameter.copy_(torch.linspace(-value, 2.5, parameter.numel()))
    act = torch.nn.PReLU(stock.num_features, dtype=torch.float64)
    pair = Pair(stock, act).train(training)
    twin = copy.deepcopy(pair)
    fused = getattr(sw, info.name.replace("nn.BatchNorm", "BatchNormPReLU"))
    return pair, fused.from_modules(twin.bn, twin.act, **options)


def formats(x):
    """The input in every memory format that its number of dimensions has, and with gaps between its elements."""
    last = {4: torch.channels_last, 5: torch.channels_last_3d}.get(x.ndim, torch.contiguous_format)
    gaps = torch.stack([x, x], dim=-1)[..., 0]
    return [x, x.to(memory_format=last), gaps, x.transpose(0, -1).contiguous().transpose(0, -1) if x.ndim > 1 else x]


def step(module, inputs):
    inputs = [t.detach().requires_grad_() for t in inputs]
    output = module(*inputs)
    output.backward(torch.linspace(-1, 2, output.numel(), dtype=output.dtype).reshape(output.shape))
    grads = [t.grad for t in (*inputs, *module.parameters())]
    module.zero_grad()
    return output.detach(), *grads, *[b.clone() for b in module.buffers()]


@pytest.mark.parametrize("low_memory", [False, True])
@pytest.mark.parametrize(("info", "training", "sample"), SAMPLES)
def test_values_gradients_and_buffers_in_every_memory_format(info, training, sample, low_memory, operators):
    stock, ours = build(info, training, sample, low_memory=low_memory)
    (x,) = sample.forward_input.args
    residuals = [[]] if info.name == "nn.PReLU" else [[], [torch.randn_like(x)]]
    for x_ in formats(x.detach()):
        for residual in residuals:
            with operators() as used:
                results = step(ours, [x_, *residual])
            assert len(used) == 2 * bool(x.numel())
            for one, other in zip(results, step(stock, [x_, *residual]), strict=True):
                torch.testing.assert_close(one, other, **CLOSE)


@pytest.mark.parametrize(("info", "training", "sample"), SAMPLES)
def test_copies_and_pickles_go_on_alike(info, training, sample):
    _, ours = build(info, training, sample)
    twins = [copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))]
    expected = step(ours, sample.forward_input.args)
    for twin in twins:
        for one, other in zip(step(twin, sample.forward_input.args), expected, strict=True):
            assert torch.equal(one, other)


@pytest.mark.parametrize("info", [info for info in module_db if info.name.removeprefix("nn.") in LAYERS[1:]])
def test_arguments_that_pytorch_refuses_are_refused(info):
    options = {"device": "cpu", "dtype": torch.float64, "requires_grad": False, "training": True}
    for error in info.module_error_inputs_func(info, **options):
        built, called = error.module_error_input.constructor_input, error.module_error_input.forward_input
        layer = getattr(sw, info.name.replace("nn.BatchNorm", "BatchNormPReLU"))(*built.args, **built.kwargs)
        with pytest.raises(error.error_type, match=error.error_regex):
            layer.double()(*called.args)
