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
    weights, slopes = sw.param_groups(model, lr=0.1, weight_decay=0.2, slope_lr_scale=0.5)
    assert names(model, slopes) == {"0.bn.slope", "1.weight", "4.weight"}
    assert names(model, weights) == {"0.conv.weight", "0.bn.weight", "0.bn.bias", "3.weight", "3.bias"}
    assert (weights["name"], weights["lr"], weights["weight_decay"]) == ("weights", 0.1, 0.2)
    assert (slopes["name"], slopes["lr"], slopes["weight_decay"]) == ("slopes", 0.05, 0.0)


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
    assert groups[1]["params"] == [shared.weight]


@pytest.mark.parametrize(("layer", "name"), [(sw.PReLU(3), "weight"), (sw.BatchNormPReLU2d(3), "slope")])
def test_a_parametrised_slope_is_still_a_slope(layer, name):
    torch.nn.utils.parametrize.register_parametrization(layer, name, torch.nn.Softplus())
    (slope,) = sw.param_groups(layer, lr=0.1)[1]["params"]
    assert slope is layer.parametrizations[name].original


@pytest.mark.parametrize("layer", [sw.BatchNormPReLU1d, sw.BatchNormPReLU2d, sw.BatchNormPReLU3d])
def test_of_a_fused_layer_the_slope_alone_is_a_slope_where_it_is_learned(layer):
    fused = layer(3)
    weights, slopes = sw.param_groups(fused, lr=0.1)
    assert names(fused, slopes) == {"slope"}
    assert names(fused, weights) == {"weight", "bias"}
    assert sw.param_groups(layer(3, learnable=False), lr=0.1)[1]["params"] == []


def test_the_audit():
    model = network()
    for name in ("weight", "bias"):
        model[0].bn.get_parameter(name).requires_grad_(requires_grad=False)
    lines = str(sw.param_groups(model, lr=0.1, weight_decay=5e-4)).splitlines()
    assert lines == [
        "7 slopes, 0 decayed",
        "  weights: 3 tensors, 310 values, lr 0.1, weight_decay 0.0005",
        "  slopes: 3 tensors, 7 values, lr 0.1, weight_decay 0",
        "  frozen: 2 tensors, 8 values",
    ]
    assert str(sw.param_groups(model, lr=0.1, slope_weight_decay=0.01)).startswith("7 slopes, 7 decayed\n")


def stepped(optimizer_class, **settings):
    """Values before and gradients and values after one step at lr 0.1, decay 0.5, slopes at a tenth of the rate."""
    model = network()
    optimizer = optimizer_class(sw.param_groups(model, lr=0.1, weight_decay=0.5, slope_lr_scale=0.1), **settings)
    before = copy.deepcopy(list(model.parameters()))
    model(torch.randn(6, 3, 5, 5)).square().sum().backward()
    optimizer.step()
    slopes = {id(model[0].bn.slope), id(model[1].weight), id(model[4].weight)}
    return [
        (id(p) in slopes, old.detach(), p.grad, p.detach()) for old, p in zip(before, model.parameters(), strict=True)
    ]


def test_a_step_of_sgd():
    for is_slope, old, gradient, new in stepped(torch.optim.SGD):
        rate, decay = (0.01, 0.0) if is_slope else (0.1, 0.5)
        torch.testing.assert_close(new, old - rate * (gradient + decay * old))
        assert not torch.equal(new, old)


def test_a_step_of_adamw():
    for is_slope, old, gradient, new in stepped(torch.optim.AdamW):
        rate, decay = (0.01, 0.0) if is_slope else (0.1, 0.5)
        # Adam's first step, its moments corrected for their start at 0, is gradient / (|gradient| + eps).
        torch.testing.assert_close(new, old * (1 - rate * decay) - rate * gradient / (gradient.abs() + 1e-8))


def test_one_cycle_keeps_the_ratio_and_the_audit_is_live():
    model = network()
    groups = sw.param_groups(model, lr=0.1, slope_lr_scale=0.25)
    optimizer = torch.optim.SGD(groups, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=[group["lr"] for group in groups], total_steps=10)
    for _ in range(9):
        weights, slopes = optimizer.param_groups
        assert (weights["name"], slopes["name"]) == ("weights", "slopes")
        assert slopes["lr"] == pytest.approx(0.25 * weights["lr"])
        assert f"values, lr {weights['lr']:g}, weight_decay" in str(groups)
        optimizer.step()
        scheduler.step()


def test_a_model_without_slopes_has_an_empty_group_that_optimizers_take():
    model = torch.nn.Linear(2, 2)
    groups = sw.param_groups(model, lr=0.1)
    assert groups[1]["params"] == []
    model(torch.ones(1, 2)).sum().backward()
    torch.optim.SGD(groups).step()
    torch.optim.AdamW(sw.param_groups(model, lr=0.1)).step()


@pytest.mark.parametrize("name", ["lr", "weight_decay", "slope_lr_scale", "slope_weight_decay"])
@pytest.mark.parametrize("value", [-1.0, float("nan")])
def test_negative_settings_are_named(name, value):
    with pytest.raises(ValueError, match=f"^{name} must be 0 or more, got {value}"):
        sw.param_groups(network(), **{"lr": 0.1, name: value})


def test_nothing_to_optimize_is_an_error():
    with pytest.raises(ValueError, match="no parameter of ReLU requires a gradient"):
        sw.param_groups(torch.nn.ReLU(), lr=0.1)
