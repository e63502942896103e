"""Doubts of the audit of parameter groups: slopes that nobody initialised, and settings of optimizers."""

import math

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

import slopewise as sw


def audit(groups):
    return str(groups).split("\n")[4:]


@pytest.mark.parametrize("value", [4e25, -396.0, math.nan, math.inf, 1e-38])
@pytest.mark.parametrize("layer", [sw.PReLU, nn.PReLU, sw.BatchNormPReLU2d])
def test_a_slope_that_nobody_can_have_given_is_warned_of(layer, value):
    model = nn.Sequential(nn.Conv2d(3, 5, 3), layer(5))
    slopes = model[1].slope if layer is sw.BatchNormPReLU2d else model[1].weight
    slopes.data[3] = value
    with pytest.warns(UserWarning, match=r"'1' has a slope of .* reset_parameters\(\)") as caught:
        groups = sw.param_groups(model, lr=0.1)
    assert caught[0].filename == __file__
    (line,) = audit(groups)
    assert line.strip().startswith(f"'1' has a slope of {value:g}, which looks like memory")


def test_slopes_that_may_have_been_trained_are_not():
    model = nn.Sequential(nn.PReLU(5), nn.PReLU(init=0.0), nn.PReLU(2).to("meta"))
    model[0].weight.data.copy_(torch.tensor([0.0, -0.0, 99.0, -2.3, 1e-12]))
    assert audit(sw.param_groups(model, lr=0.1)) == [
        "  layers that share one slope, with its sum gradient over channels: 1"
    ]


class Optimizer(torch.optim.Optimizer):
    """Completes the groups with the settings of somebody else's optimizer."""

    def __init__(self, groups, **settings):
        super().__init__(groups, {"lr": 0.1, **settings})


ADAFACTOR = {"relative_step": True, "scale_parameter": True}
LAMB = {"grad_averaging": True, "adam": False}
SIZE = "this optimizer scales steps by a parameter's size: from 0 they are tiny"
RATE = "the optimizer sets its own rate (relative_step): lr does not count"
TRUST = "without decay this optimizer has no trust ratio (always_adapt=False): lr is that of SGD or Adam"
FIRST = "this optimizer divides steps by a parameter's size: from 0 the first is some 30 times lr"


@pytest.mark.parametrize(
    ("settings", "init", "decay", "expected"),
    [
        (ADAFACTOR, 0.0, 0.0, [RATE, SIZE]),
        (ADAFACTOR, 0.25, 0.0, [RATE]),
        ({**ADAFACTOR, "relative_step": False}, 0.0, 0.0, [SIZE]),
        ({"always_adapt": False, "trust_coeff": 0.001}, 0.25, 0.0, [TRUST]),
        ({"always_adapt": False, "trust_clip": False}, 0.25, 0.1, []),
        ({"always_adapt": True}, 0.25, 0.0, []),
        (LAMB, 0.0, 0.0, [FIRST]),
        (LAMB, 0.25, 0.0, []),
        ({"momentum": 0.9}, 0.0, 0.0, []),
    ],
)
def test_settings_are_known_once_an_optimizer_has_the_groups(settings, init, decay, expected):
    model = nn.Sequential(nn.Linear(2, 3), sw.PReLU(3, init=init))
    groups = sw.param_groups(model, lr=0.1, slope_weight_decay=decay)
    assert audit(groups) == []
    Optimizer(groups, **settings)
    assert audit(groups) == [f"  slopes: {line}" for line in expected]


def test_adafactor_of_torch_is_as_the_audit_says():
    moves = []
    for init in (0.0, 0.25):
        layer = sw.PReLU(init=init, shared_gradient="mean")
        groups = sw.param_groups(layer, lr=0.01)
        optimizer = torch.optim.Adafactor(groups)
        assert any(SIZE in line for line in audit(groups)) == (init == 0.0)
        layer(-torch.ones(1)).backward()
        optimizer.step()
        moves.append(abs(layer.weight.item() - init))
    assert moves[0] < 0.01 * moves[1]


def pruned(model):
    for module, name in ((model[0], "bias"), (model[1], "weight"), (model[3], "slope"), (model[3], "weight")):
        prune.random_unstructured(module, name, 0.5)
    return model


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), sw.PReLU(6), nn.Linear(6, 4), sw.BatchNormPReLU1d(4))


def test_pruned_parameters_keep_their_roles():
    """torch.nn.utils.prune renames them."""
    expected, groups = sw.param_groups(network(), lr=0.1), sw.param_groups(pruned(network()), lr=0.1)
    sizes = [[p.numel() for p in group["params"]] for group in groups]
    assert [sorted(size) for size in sizes] == [sorted(p.numel() for p in group["params"]) for group in expected]
    assert list(groups.layers) == ["1", "3"]


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated:FutureWarning")
def test_so_do_those_of_the_older_weight_norm():
    model = network()
    nn.utils.weight_norm(model[0])
    weights, others, _ = sw.param_groups(model, lr=0.1)
    assert len(weights["params"]) == 3
    assert len(others["params"]) == 4
    model = nn.Module()
    model.weight_orig = nn.Parameter(torch.ones(2))  # of somebody who calls it so
    assert sw.param_groups(model, lr=0.1)[0]["params"] == [model.weight_orig]


def test_a_monitor_sees_pruned_slopes_as_they_are_after_the_step():
    model = pruned(network())
    optimizer = torch.optim.SGD(sw.param_groups(model, lr=0.1))
    with sw.Monitor(model, every=1) as monitor:
        for _ in range(6):
            optimizer.zero_grad()
            (model(torch.randn(16, 4)) - 1).square().mean().backward()
            optimizer.step()
            now = (model[1].weight_orig * model[1].weight_mask).detach()
            assert torch.equal(monitor.slopes("1").value, now.double())
            gradient = monitor.samples[-1].slopes[0].gradient
            assert gradient == pytest.approx(model[1].weight_orig.grad.norm().item())
            assert monitor.samples[-1].slopes[0].update > 0


def test_channels_that_structured_pruning_took_from_a_fused_layer():
    """As a tool does that knows BatchNorm."""
    block = sw.ConvBNPReLU(3, 8)
    keep = torch.arange(6)
    block.conv.weight = nn.Parameter(block.conv.weight[keep])
    for name in ("weight", "bias"):
        setattr(block.bn, name, nn.Parameter(getattr(block.bn, name)[keep]))
    block.bn.running_mean, block.bn.running_var = block.bn.running_mean[keep], block.bn.running_var[keep]
    block.bn.num_features = 6
    for size in (4, 64):
        with pytest.raises(
            ValueError, match=r"8 slopes do not fit .* left the slopes: put layer\.unfuse\(\) in its place"
        ):
            block(torch.randn(2, 3, size, size))
