"""A study of a user's network with fused layers records the same as of any other network."""

from collections.abc import Callable

from slopewise.study import parse_spec, preflight, run_trial

MODULE = """
from torch import nn
import slopewise as sw

class Plain(nn.Module):
    def __init__(self, channels, activation):
        super().__init__()
        self.norm, self.activation = nn.BatchNorm2d(channels), activation

    def forward(self, x, shortcut=None):
        z = self.norm(x)
        return self.activation(z if shortcut is None else z + shortcut)

def relu(channels): return Plain(channels, nn.ReLU())
def fused_relu(channels): return sw.BatchNormPReLU2d(channels, num_parameters=1, init=0.0, learnable=False)
def fused(channels): return sw.BatchNormPReLU2d(channels, low_memory=True)

class Block(nn.Module):
    def __init__(self, channels, activation):
        super().__init__()
        self.conv, self.act = nn.Conv2d(channels, channels, 3, padding=1, bias=False), activation(channels)

    def forward(self, x):
        return self.act(self.conv(x), x)

def build(activation, num_classes, in_channels):
    return nn.Sequential(
        sw.ConvBNPReLU(in_channels, 6), Block(6, activation), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(6, num_classes),
    )
"""


def test_units_slopes_and_gradients_are_recorded(user_module: Callable[[str, str], str]) -> None:
    name = user_module("fused_net", MODULE)
    spec = parse_spec(
        {
            "data": {"train_size": 200},
            "model": {"name": f"{name}:build"},
            "arms": [{"name": arm, "activation": f"{name}:{arm}"} for arm in ("relu", "fused_relu", "fused")],
            "train": {"epochs": 2, "slope_lr_scale": 0.5},
            "seeds": 1,
        }
    )
    data = preflight(spec).data
    relu, fused_relu, fused = (run_trial(spec, arm, 0, data) for arm in ("relu", "fused_relu", "fused"))
    assert len({trial.init_digest for trial in (relu, fused_relu, fused)}) == 1
    assert (fused_relu.slope_parameters, fused.slope_parameters) == (0, 6)
    start, *_, end = fused.sites
    assert (start.layer, start.slopes, start.slope_min, start.slope_max) == ("1.act", 6, 0.25, 0.25)
    assert end.slope_median != 0.25
    assert {g.layer for g in fused.gradients} == {"0.conv", "0.bn", "1.conv", "1.act", "4"}
    # A fused ReLU trains and is measured like a ReLU after a normalisation.
    ours, theirs = (trial.curve("validation", "loss") for trial in (fused_relu, relu))
    assert all(abs(ours[epoch] - theirs[epoch]) < 1e-3 for epoch in ours)
