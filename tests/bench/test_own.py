"""A user's own network as it is, converted and fused: each variant is what its name says."""

import pytest
import torch
from torch import nn

import slopewise.nn as swnn
from slopewise.bench import gain, mean_square, own_jobs, run_jobs
from slopewise.errors import ConversionError, ModelError


def network(norm=nn.BatchNorm2d, act=nn.PReLU):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), norm(4), act(), nn.Conv2d(4, 2, 3))


def measured(net, shape=(3, 34, 34), **how):
    return run_jobs(own_jobs(net, "net", shape, batch=2, rounds=1, **how), lambda line: None)


@pytest.mark.parametrize("act", [nn.ReLU, nn.PReLU])
def test_networks_with_batch_normalisation_are_fused(act):
    net = network(act=act)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    steps, saved = measured(net)
    as_built = ["as it is", "converted", "converted, fused"]
    assert list(steps.values) == list(saved.values) == [*as_built, *(f"{name}, channels_last" for name in as_built)]
    # By count: image, output (for the loss), hidden tensors for the layers, a few numbers of each channel.
    ends, hidden = (2 * 3 * 34 * 34 + 2 * 2 * 30 * 30) * 4, 2 * 4 * 32 * 32 * 4
    kept = {"as it is": 3 if act is nn.PReLU else 2, "converted": 3, "converted, fused": 1}
    for name, tensors in kept.items():
        for layout in ("", ", channels_last"):
            assert saved.values[name + layout][0] - ends - tensors * hidden == pytest.approx(0, abs=100)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert next(net.parameters()).is_contiguous()
    assert gain([saved])[0].startswith("fewest bytes kept for backward: converted, fused, 0.")


def test_others_keep_outputs_instead():
    steps, _ = measured(network(nn.InstanceNorm2d), channels_last=False)
    assert list(steps.values) == ["as it is", "converted", "converted, low_memory"]


def test_weights_of_two_dimensions_have_no_other_format():
    steps, _ = measured(nn.Sequential(nn.Flatten(), nn.Linear(3 * 4, 3), nn.ReLU(), nn.Linear(3, 2)), (3, 4))
    assert list(steps.values) == ["as it is", "converted", "converted, low_memory"]


def test_a_loss_is_given_the_output():
    outputs = []

    def loss(output):
        outputs.append(output)
        return output["out"].abs().sum()

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = network()

        def forward(self, x):
            return {"out": self.body(x)}

    measured(Net(), channels_last=False, loss=loss)
    assert outputs[0]["out"].shape == (2, 2, 30, 30)


@pytest.mark.parametrize(
    ("net", "how", "error", "message"),
    [
        (network(), {"loss": lambda output: output}, ModelError, r"a tensor of shape \(2, 2, 30, 30\)"),
        (network(), {"loss": lambda output: 1.0}, ModelError, "one number in a tensor, and returned float"),
        (network(), {"shape": (1, 8, 8)}, ConversionError, "does not run"),
        (nn.Conv2d(3, 2, 3), {}, ConversionError, "no activation of Conv2d"),
    ],
)
def test_bad_input(net, how, error, message):
    with pytest.raises(error, match=message):
        measured(net, **how)


def test_an_output_without_numbers_has_no_loss():
    with pytest.raises(ModelError, match="dict, holds no numbers"):
        mean_square({"classes": torch.tensor([1])})


def test_no_gain_is_said():
    steps = measured(network())[0]
    as_is = type(steps)(steps.question, {}, {"as it is": (1.0,), "converted": (2.0,)}, "s")
    assert gain([as_is]) == ["shortest training step: the network as it is"]


def test_layers_are_ours_in_the_converted_variants():
    made = own_jobs(network(), "net", (3, 8, 8), batch=2)[0][1].args[0]()
    assert isinstance(made["converted, fused, channels_last"][1], swnn.BatchNormPReLU2d)
    assert made["converted, fused, channels_last"][0].weight.is_contiguous(memory_format=torch.channels_last)
    assert type(made["as it is"][2]) is nn.PReLU
    assert type(made["converted"][2]) is swnn.PReLU
