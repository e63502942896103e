"""Parameter groups: who is in which, and what one real step then does, against closed forms."""

import copy

import pytest
import torch

import slopewise as sw


def network():
    torch.manual_seed(0)
    return torch.nn.Sequential(
        sw.ConvBNPReLU(3, 4), torch.nn.PReLU(), torch.nn.Flatten(), torch.nn.Linear(4 * 25, 2), sw.PReLU(2)
    )


def names(model, group):
    return {name for name, parameter in model.named_parameters() if any(parameter is p for p in group["params"])}


def test_groups_are_by_module_type():
    model = network()
    weights, others, slopes = groups = sw.param_groups(model, lr=0.1, weight_decay=0.2, slope_lr_scale=0.5)
    assert names(model, slopes) == {"0.bn.slope", "1.weight", "4.weight"}
    assert names(model, others) == {"0.bn.weight", "0.bn.bias", "3.bias"}
    assert names(model, weights) == {"0.conv.weight", "3.weight"}
    assert [(group["name"], group["lr"], group["weight_decay"]) for group in groups] == [
        ("weights", 0.1, 0.2),
        ("norms and biases", 0.1, 0.0),
        ("slopes", 0.05, 0.0),
    ]
    assert sw.param_groups(model, lr=0.1, norm_and_bias_weight_decay=0.3)[1]["weight_decay"] == 0.3


def test_each_slope_is_reported_under_its_layers():
    model = network()
    model.append(sw.PReLU(2))
    model[5].weight = model[4].weight
    model.append(model[1])
    model.append(torch.nn.PReLU()).get_submodule("7").requires_grad_(requires_grad=False)
    layers = sw.param_groups(model, lr=0.1).layers
    assert list(layers) == ["0.bn", "1", "4", "5", "6"]
    assert layers["0.bn"] is model[0].bn.slope
    assert layers["4"] is layers["5"] is model[4].weight
    assert layers["6"] is model[1].weight
    assert sw.param_groups(torch.nn.PReLU(), lr=0.1).layers.keys() == {""}


def test_every_learned_parameter_is_in_once_however_often_it_is_shared():
    shared, frozen = sw.PReLU(), torch.nn.PReLU(5)
    frozen.requires_grad_(requires_grad=False)
    linear, tied = torch.nn.Linear(5, 5), torch.nn.Linear(5, 5)
    tied.weight = linear.weight
    linear.bias.requires_grad_(requires_grad=False)
    other = sw.PReLU()
    other.weight = shared.weight
    model = torch.nn.Sequential(linear, shared, tied, shared, other, frozen)
    groups = sw.param_groups(model, lr=0.1)
    members = [id(parameter) for group in groups for parameter in group["params"]]
    assert len(members) == len(set(members))
    assert set(members) == {id(p) for p in model.parameters() if p.requires_grad}
    assert {id(p) for p in groups.frozen} == {id(linear.bias), id(frozen.weight)}
    assert groups[2]["params"] == [shared.weight]


@pytest.mark.parametrize(("layer", "name"), [(sw.PReLU(3), "weight"), (sw.BatchNormPReLU2d(3), "slope")])
def test_a_parametrised_slope_is_still_a_slope(layer, name):
    torch.nn.utils.parametrize.register_parametrization(layer, name, torch.nn.Softplus())
    groups = sw.param_groups(torch.nn.Sequential(layer), lr=0.1)
    (slope,) = groups[2]["params"]
    assert slope is groups.layers["0"] is layer.parametrizations[name].original


def test_slopes_of_four_dimensions():
    layer = torch.nn.PReLU(3)
    layer.weight = torch.nn.Parameter(torch.full((1, 3, 1, 1), 0.25))
    assert sw.param_groups(layer, lr=0.1)[2]["params"] == [layer.weight]


@pytest.mark.parametrize("layer", [sw.BatchNormPReLU1d, sw.BatchNormPReLU2d, sw.BatchNormPReLU3d])
def test_of_a_fused_layer_the_slope_alone_is_a_slope_where_it_is_learned(layer):
    fused = layer(3)
    weights, norms, slopes = sw.param_groups(fused, lr=0.1)
    assert (names(fused, slopes), names(fused, norms), weights["params"]) == ({"slope"}, {"weight", "bias"}, [])
    assert sw.param_groups(layer(3, learnable=False), lr=0.1)[2]["params"] == []


class NormLinear(torch.nn.Linear):
    """A linear layer, for all that its name says."""


class RootMeanSquareNormalization(torch.nn.Module):
    """A norm of its own, like those of many language models."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(3))


class Standardise(RootMeanSquareNormalization.__base__):
    """A norm that only its running statistics give away."""

    def __init__(self):
        super().__init__()
        self.gain = torch.nn.Parameter(torch.ones(3))
        self.register_buffer("running_mean", torch.zeros(3))


class EnormousNet(torch.nn.Module):
    """No norm: the four letters are part of another word."""

    def __init__(self):
        super().__init__()
        self.token = torch.nn.Parameter(torch.ones(3))


@pytest.mark.parametrize(
    ("module", "weights"),
    [
        (torch.nn.SyncBatchNorm(3), set()),
        (torch.nn.InstanceNorm2d(3, affine=True), set()),
        (torch.nn.GroupNorm(1, 3), set()),
        (torch.nn.LayerNorm(3), set()),
        (torch.nn.RMSNorm(3), set()),
        (RootMeanSquareNormalization(), set()),
        (Standardise(), set()),
        (type("Mine", (torch.nn.LayerNorm,), {})(3), set()),
        (NormLinear(3, 3), {"weight"}),
        (EnormousNet(), {"token"}),
        (torch.nn.Embedding(3, 3, max_norm=1.0), {"weight"}),
        (torch.nn.LSTM(3, 3), {"weight_ih_l0", "weight_hh_l0"}),
        (torch.nn.MultiheadAttention(4, 2, add_bias_kv=True), {"in_proj_weight", "out_proj.weight"}),
        (
            torch.nn.utils.parametrizations.weight_norm(torch.nn.Conv2d(3, 3, 3)),
            {"parametrizations.weight.original0", "parametrizations.weight.original1"},
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_weights_norms_and_biases_are_distinguished(module, weights):
    decayed, others, _ = sw.param_groups(module, lr=0.1)
    assert names(module, decayed) == weights
    assert names(module, others) == {name for name, _ in module.named_parameters()} - weights


def test_a_tied_weight_has_the_role_it_has_first_unless_it_is_a_slope():
    embedding, head, slope = torch.nn.Embedding(3, 3), torch.nn.Linear(3, 3, bias=False), sw.PReLU(3)
    head.weight = embedding.weight
    norm = torch.nn.LayerNorm(3, bias=False)
    norm.weight = slope.weight
    weights, others, slopes = sw.param_groups(torch.nn.Sequential(embedding, head, norm, slope), lr=0.1)
    assert (weights["params"], others["params"], slopes["params"]) == ([embedding.weight], [], [slope.weight])


def test_the_audit():
    model = network()
    for name in ("weight", "bias"):
        model[0].bn.get_parameter(name).requires_grad_(requires_grad=False)
    lines = str(sw.param_groups(model, lr=0.1, weight_decay=5e-4)).splitlines()
    assert lines == [
        "7 slopes, 0 decayed; 2 parameters frozen",
        "  weights: 2 parameters, 308 values, lr 0.1, weight_decay 0.0005",
        "  norms and biases: 1 parameters, 2 values, lr 0.1, weight_decay 0",
        "  slopes: 3 parameters, 7 values, lr 0.1, weight_decay 0",
        "  layers that share one slope, with its sum gradient over channels: 1",
    ]
    assert str(sw.param_groups(model, lr=0.1, slope_weight_decay=0.01)).startswith("7 slopes, 7 decayed;")


def stepped(optimizer_class, **settings):
    """One step: of each parameter the rate and decay, the old value, the gradient and the new value."""
    model = network()
    groups = sw.param_groups(model, lr=0.1, weight_decay=0.5, slope_lr_scale=0.1)
    optimizer = optimizer_class(groups, **settings)
    before = copy.deepcopy(list(model.parameters()))
    model(torch.randn(6, 3, 5, 5)).square().sum().backward()
    optimizer.step()
    slopes = {id(model[0].bn.slope), id(model[1].weight), id(model[4].weight)}
    weights = {id(model[0].conv.weight), id(model[3].weight)}
    for old, p in zip(before, model.parameters(), strict=True):
        rate, decay = 0.01 if id(p) in slopes else 0.1, 0.5 if id(p) in weights else 0.0
        yield rate, decay, old.detach(), p.grad, p.detach()


@pytest.mark.parametrize("settings", [{}, {"fused": True}, {"foreach": True}], ids=str)
def test_a_step_of_sgd(settings):
    for rate, decay, old, gradient, new in stepped(torch.optim.SGD, **settings):
        torch.testing.assert_close(new, old - rate * (gradient + decay * old))
        assert not torch.equal(new, old)


@pytest.mark.parametrize("settings", [{}, {"fused": True}, {"foreach": True}], ids=str)
def test_a_step_of_adamw(settings):
    for rate, decay, old, gradient, new in stepped(torch.optim.AdamW, **settings):
        # Adam's first step, its moments corrected for their start at 0, is gradient / (|gradient| + eps).
        torch.testing.assert_close(new, old * (1 - rate * decay) - rate * gradient / (gradient.abs() + 1e-8))


def test_one_cycle_keeps_the_ratio_and_the_audit_is_live():
    model = network()
    groups = sw.param_groups(model, lr=0.1, slope_lr_scale=0.25)
    optimizer = torch.optim.SGD(groups, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=[group["lr"] for group in groups], total_steps=10)
    for _ in range(9):
        weights, _, slopes = optimizer.param_groups
        assert slopes["lr"] == pytest.approx(0.25 * weights["lr"])
        assert f"values, lr {weights['lr']:g}, weight_decay" in str(groups)
        optimizer.step()
        scheduler.step()


def test_a_model_without_slopes_has_an_empty_group_that_optimizers_take():
    model = torch.nn.Linear(2, 2, bias=False)
    groups = sw.param_groups(model, lr=0.1)
    assert [len(group["params"]) for group in groups] == [1, 0, 0]
    model(torch.ones(1, 2)).sum().backward()
    torch.optim.SGD(groups).step()
    torch.optim.AdamW(sw.param_groups(model, lr=0.1)).step()


@pytest.mark.parametrize(
    "name", ["lr", "weight_decay", "slope_lr_scale", "slope_weight_decay", "norm_and_bias_weight_decay"]
)
@pytest.mark.parametrize("value", [-1.0, float("nan")])
def test_negative_settings_are_named(name, value):
    with pytest.raises(ValueError, match=f"^{name} must be 0 or more, got {value}"):
        sw.param_groups(network(), **{"lr": 0.1, name: value})


def test_nothing_to_optimize_is_an_error():
    with pytest.raises(ValueError, match="no parameter of ReLU requires a gradient"):
        sw.param_groups(torch.nn.ReLU(), lr=0.1)


def test_a_parameter_without_a_shape_is_named():
    model = torch.nn.Sequential(sw.PReLU(), torch.nn.LazyLinear(2))
    with pytest.raises(
        ValueError, match=r"^'1\.weight' of LazyLinear has no shape yet: pass a batch through the model"
    ):
        sw.param_groups(model, lr=0.1)
    model(torch.ones(1, 3))
    assert len(sw.param_groups(model, lr=0.1)[0]["params"]) == 1
