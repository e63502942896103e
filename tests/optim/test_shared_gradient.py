"""The remedy for shared slopes: the mean of what slopes per channel would get, whoever computes it, and SGD's steps."""

import copy
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import slopewise as sw
from slopewise.errors import SlopewiseWarning

SHAPES = {1: [(4,), (4, 3), (4, 3, 5), (2, 3, 4, 5), (2, 3, 2, 3, 2)], -1: [(3,), (4, 3), (2, 5, 3)], -3: [(3, 4, 5)]}
CASES = [(axis, shape) for axis, shapes in SHAPES.items() for shape in shapes]


def gradients(layer, x):
    """Of the input and of the slopes, for an arbitrary loss of the output; and that output."""
    x = x.detach().requires_grad_()
    y = layer(x)
    (slope,) = [p for name, p in layer.named_parameters() if name in {"slope"} or isinstance(layer, torch.nn.PReLU)]
    gx, ga = torch.autograd.grad((y.cos() * torch.arange(y.numel()).view_as(y)).sum(), (x, slope))
    return y, gx, ga


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize(("axis", "shape"), CASES, ids=str)
def test_the_gradient_is_the_mean_over_channels_and_all_else_is_unchanged(axis, shape, dtype):
    torch.manual_seed(0)
    x = torch.randn(shape, dtype=dtype)
    layer = sw.PReLU(1, 0.3, dtype=dtype, channel_dim=axis)
    y, gx, ga = gradients(layer, x)
    layer.shared_gradient = "mean"
    y_mean, gx_mean, ga_mean = gradients(layer, x)
    channels = shape[axis] if -len(shape) <= axis < len(shape) else 1
    assert torch.equal(y_mean, y)
    assert torch.equal(gx_mean, gx)
    torch.testing.assert_close(ga_mean, ga / channels)
    per_channel = sw.PReLU(channels, 0.3, dtype=torch.float64, channel_dim=axis if channels > 1 else 1)
    *_, expected = gradients(per_channel, x.double())
    torch.testing.assert_close(
        ga_mean.double().squeeze(), expected.mean(), rtol=2e-2 if dtype.itemsize == 2 else 1e-5, atol=0.0
    )


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("low_memory", [False, True])
def test_on_the_kernels(low_memory, autocast):
    """Large enough for them, channels last, with the output kept or the input."""
    torch.manual_seed(0)
    x = torch.randn(4, 32, 16, 16).to(memory_format=torch.channels_last)
    layer, by_rule = sw.PReLU(low_memory=low_memory), {}
    for kind in ("sum", "mean"):
        layer.shared_gradient = kind
        with torch.autocast("cpu", enabled=autocast):
            by_rule[kind] = gradients(layer, x)
    assert torch.equal(by_rule["mean"][0], by_rule["sum"][0])
    assert torch.equal(by_rule["mean"][1], by_rule["sum"][1])
    torch.testing.assert_close(by_rule["mean"][2], by_rule["sum"][2] / 32)


@pytest.mark.parametrize("bounds", [None, (0.0, 1.0)])
def test_of_a_fused_layer_with_bounds_residual_and_without(bounds):
    torch.manual_seed(0)
    x, residual = torch.randn(2, 4, 6, 3, 3).unbind()
    layer = sw.BatchNormPReLU2d(6, num_parameters=1, bounds=bounds)
    for arguments in ((x,), (x, residual)):
        by_rule = {}
        for kind in ("sum", "mean"):
            layer.shared_gradient = kind
            y = layer(*arguments)
            by_rule[kind] = y, *torch.autograd.grad(y.square().sum(), (layer.slope, layer.weight, layer.bias))
        for name, one, other in zip(("y", "slope", "weight", "bias"), by_rule["sum"], by_rule["mean"], strict=True):
            torch.testing.assert_close(other, one / 6 if name == "slope" else one)


def test_with_bounds_the_slope_outside_still_gets_its_gradient():
    layer = sw.PReLU(1, 0.5, bounds=(0.0, 0.6))
    layer.shared_gradient = "mean"
    with torch.no_grad():
        layer.weight.fill_(5.0)
    layer(-torch.ones(2, 3)).sum().backward()
    assert layer.weight.item() == pytest.approx(0.6)
    assert layer.weight.grad.item() == -2


def test_param_groups_only_reads_and_a_call_sets_it(as_new_process):
    model = torch.nn.Sequential(
        sw.PReLU(), sw.PReLU(3), torch.nn.PReLU(), sw.BatchNormPReLU1d(3, num_parameters=1), sw.PReLU()
    )
    model[4].requires_grad_(requires_grad=False)
    assert model[0].shared_gradient == "sum"
    with pytest.warns(SlopewiseWarning, match=r"^'0' sums the gradient of its one slope .*set_shared_gradient"):
        assert sw.param_groups(model, lr=0.1).shared == dict.fromkeys("023", "sum")
    assert sw.param_groups(model, lr=0.1).shared == dict.fromkeys("023", "sum")  # it warns once
    assert sw.set_shared_gradient(model, "mean") == {"0": "mean", "2": "sum", "3": "mean", "4": "mean"}
    groups = sw.param_groups(model, lr=0.1)
    assert groups.shared == {"0": "mean", "2": "sum", "3": "mean"}
    assert str(groups).splitlines()[-2:] == [
        "  layers that share one slope, with its mean gradient over channels: 2",
        "  layers that share one slope, with its sum gradient over channels: 1",
    ]
    assert [getattr(layer, "shared_gradient", None) for layer in model] == ["mean", "sum", None, "mean", "mean"]
    with pytest.warns(DeprecationWarning, match="use slopewise.set_shared_gradient"):
        assert sw.param_groups(model, lr=0.1, shared_gradient="sum").shared == dict.fromkeys("023", "sum")
    assert model[0].shared_gradient == model[3].shared_gradient == "sum"


@pytest.mark.parametrize(
    "make",
    [
        lambda rule: sw.PReLU(shared_gradient=rule),
        lambda rule: sw.BatchNormPReLU1d(3, num_parameters=1, shared_gradient=rule),
        lambda rule: sw.ConvBNPReLU(3, 3, num_parameters=1, shared_gradient=rule).bn,
    ],
)
def test_it_is_an_argument(make):
    assert make("mean").shared_gradient == "mean"
    assert "shared_gradient='mean'" in str(make("mean"))
    assert list(make("mean").state_dict()) == list(make("sum").state_dict())
    with pytest.raises(ValueError, match=r"^shared_gradient must be 'mean' or 'sum', got 'max'"):
        make("max")


def test_a_rule_that_is_none_is_refused():
    with pytest.raises(ValueError, match=r"^shared_gradient must be 'mean' or 'sum', got 'max'"):
        sw.set_shared_gradient(sw.PReLU(), "max")


def test_it_shows_and_it_travels():
    model = torch.nn.Sequential(sw.PReLU(), sw.BatchNormPReLU1d(3, num_parameters=1))
    plain = str(model)
    sw.set_shared_gradient(model, "mean")
    assert "shared_gradient" not in plain
    assert str(model).count("shared_gradient='mean'") == 2
    for copied in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert [layer.shared_gradient for layer in copied] == ["mean", "mean"]
    norm, act = model[1].unfuse()
    assert act.shared_gradient == "mean"
    assert sw.BatchNormPReLU1d.from_modules(norm, act).shared_gradient == "mean"
    assert sw.BatchNormPReLU1d.from_modules(norm, torch.nn.PReLU()).shared_gradient == "sum"
    assert isinstance(sw.BatchNormPReLU1d(3, num_parameters=1, init=0.0, learnable=False).unfuse()[1], torch.nn.ReLU)


# Slopes that are 0 or above 1e-20: smaller ones are warned of, as memory that nobody initialised.
@given(st.integers(1, 6), st.integers(1, 5), st.floats(-1, 1).map(lambda a: round(a, 9)), st.integers(0, 99))
def test_sgd_moves_a_shared_slope_like_the_mean_of_slopes_per_channel(channels, batch, init, seed):
    """One step from the same place, on any loss; momentum and further steps add up."""
    torch.manual_seed(seed)
    x = torch.randn(batch, channels, 3, dtype=torch.float64)
    shared, channel = sw.PReLU(1, init, dtype=torch.float64), sw.PReLU(channels, init, dtype=torch.float64)
    for layer in (shared, channel):
        sw.set_shared_gradient(layer, "mean")
        optimizer = torch.optim.SGD(sw.param_groups(layer, lr=0.1), momentum=0.9)
        layer(x).sin().sum().backward()
        optimizer.step()
    torch.testing.assert_close(shared.weight.squeeze(), channel.weight.mean(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW, torch.optim.NAdam, torch.optim.RMSprop])
def test_adaptive_optimizers_take_the_same_steps_either_way(kind):
    slopes = []
    for gradient in ("mean", "sum"):
        torch.manual_seed(0)
        layer = sw.PReLU(dtype=torch.float64, shared_gradient=gradient)
        optimizer = kind(sw.param_groups(layer, lr=0.01), lr=0.01)
        for _ in range(5):
            optimizer.zero_grad()
            layer(torch.randn(4, 8, 3, 3, dtype=torch.float64)).square().sum().backward()
            optimizer.step()
        slopes.append(layer.weight.item())
    assert slopes[0] == pytest.approx(slopes[1], rel=1e-6)
    assert slopes[0] != 0.25


def mean_layer():
    layer = sw.PReLU(dtype=torch.float64)
    layer.shared_gradient = "mean"
    return layer


X = torch.linspace(-2, 1, 24, dtype=torch.float64).view(2, 4, 3)
EXPECTED = X[X <= 0].sum().item() / 4


def test_under_torch_func():
    layer = mean_layer()

    def loss(weight, x):
        return torch.func.functional_call(layer, {"weight": weight}, (x,)).sum()

    assert torch.func.grad(loss)(layer.weight.detach(), X).item() == pytest.approx(EXPECTED)
    weights = torch.full((3, 1), 0.25, dtype=torch.float64)
    many = torch.func.vmap(torch.func.grad(loss))(weights, X.expand(3, *X.shape))
    torch.testing.assert_close(many, torch.full((3, 1), EXPECTED, dtype=torch.float64))


@pytest.mark.parametrize("trace", [lambda layer: torch.compile(layer, backend="aot_eager"), torch.fx.symbolic_trace])
def test_compiled_and_traced(trace):
    layer = mean_layer()
    trace(layer)(X).sum().backward()
    assert layer.weight.grad.item() == pytest.approx(EXPECTED)


def test_an_exported_program_holds_no_trace_of_it():
    nodes = {}
    for kind in ("sum", "mean"):
        layer = mean_layer().eval()
        layer.shared_gradient = kind
        nodes[kind] = [str(node.target) for node in torch.export.export(layer, (X,)).graph.nodes]
    assert nodes["sum"] == nodes["mean"]
