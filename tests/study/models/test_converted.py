"""An ordinary network in a study: its sites, its initial weights, and refusals."""

import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

import slopewise as sw
from slopewise.convert import ConversionWarning
from slopewise.errors import ModelError, SpecError
from slopewise.study import ArmSpec, ConvertSpec, ModelSpec, StudySpec, parse_spec, preflight
from slopewise.study.arms import ACTIVATIONS, activation_factory
from slopewise.study.models import BuiltModel, build_model, converted

UserModule = Callable[[str, str], str]
IMAGES = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
LAST = "channels_last"
SITES = {"relu_1", "block.relu", "block.relu_2"}


def built(name: str, arm: str = "relu", seed: int = 0, images: torch.Tensor = IMAGES, **model: object) -> BuiltModel:
    factory = activation_factory(ArmSpec(name=arm, activation=arm))
    spec = ModelSpec(name=name, **model)
    return build_model(spec, factory, num_classes=10, in_channels=images.shape[1], seed=seed, example=images)


def study(name: str, arms: str = "relu", **model: object) -> StudySpec:
    return parse_spec({"arms": arms, "seeds": 1, "data": {"train_size": 100}, "model": {"name": name, **model}})


def test_a_network_channels_last_starts_from_the_same_weights_and_computes_in_that_layout(own: str) -> None:
    images = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    usual, last = (built(f"{own}:net", "prelu_channel", images=images, memory_format=m) for m in ("as_built", LAST))
    assert usual.init_digest() == last.init_digest()
    assert torch.allclose(usual.model(images), last.model(images), atol=1e-6)
    assert all(output.is_contiguous() for output in outputs_of_convolutions(usual, images))
    outputs = outputs_of_convolutions(last, images)
    assert all(output.is_contiguous(memory_format=torch.channels_last) for output in outputs)


def outputs_of_convolutions(net: BuiltModel, images: torch.Tensor) -> list[torch.Tensor]:
    outputs: list[torch.Tensor] = []
    for module in net.model.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda _module, _args, output: outputs.append(output))
    net.model(images)
    return outputs


def test_every_call_site_gets_an_activation_of_its_own(own: str) -> None:
    model = built(f"{own}:net", "prelu_channel")
    assert model.sites.keys() == SITES
    assert all(type(site) is sw.PReLU and site.num_parameters == 4 for site in model.sites.values())
    assert len(set(model.sites.values())) == 3
    assert model.facts() == {"activations_replaced": "3 relu"}


@pytest.mark.parametrize("arm", ["relu", "as_is", "prelu_channel_0", "prelu_shared_0"])
def test_arms_that_are_relu_compute_what_the_users_network_does(own: str, arm: str) -> None:
    model = built(f"{own}:net", arm, seed=3).model.eval()
    from own_net import net

    from slopewise.study._streams import derive

    torch.manual_seed(derive(3, "init"))
    theirs = net(10, 1).eval()
    assert torch.equal(model(IMAGES), theirs(IMAGES))
    state = model.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in theirs.state_dict().items())


def test_all_arms_of_a_seed_share_their_initial_weights(own: str) -> None:
    digests = {built(f"{own}:net", arm).init_digest() for arm in [*ACTIVATIONS, "as_is"]}
    assert len(digests) == 1
    assert built(f"{own}:net", seed=1).init_digest() not in digests


def test_draws_of_an_activation_depend_on_the_seed_alone(own: str, user_module: UserModule) -> None:
    name = user_module(
        "noisy_arm",
        "import torch\nclass Noisy(torch.nn.Module):\n"
        "    def __init__(self, channels):\n        super().__init__()\n"
        "        self.shift = torch.nn.Parameter(torch.randn(channels, 1, 1))\n"
        "    def forward(self, x): return torch.relu(x - self.shift)\n",
    )
    one, again, other = (built(f"{own}:net", f"{name}:Noisy", seed=seed) for seed in (0, 0, 1))
    shift = {key: value for key, value in one.model.state_dict().items() if key.endswith("shift")}
    assert len(shift) == 3
    assert all(torch.equal(again.model.state_dict()[key], value) for key, value in shift.items())
    assert not any(torch.equal(other.model.state_dict()[key], value) for key, value in shift.items())
    assert one.init_digest() == built(f"{own}:net").init_digest()


def test_a_builder_is_called_with_what_it_names(own: str, user_module: UserModule) -> None:
    assert (
        built(f"{own}:Net", options={"width": 6}).model.fc.in_features == 6
    )  # its `activation` has a default: an option
    assert built(f"{own}:Net", options={"num_classes": 7}).model.fc.out_features == 7
    fixed = user_module(
        "fixed",
        "from own_net import Net\n"
        "def three(): return Net(3)\n"
        "def needy(backbone, num_classes): return Net(num_classes)\n"
        "def any_options(**options): return Net(10, **options)\n",
    )
    assert built(f"{fixed}:any_options", options={"width": 2}).model.fc.in_features == 2
    with pytest.raises(SpecError, match=r"missing a required argument: 'backbone'\. It gets `activation` if"):
        preflight(study(f"{fixed}:needy"))
    with pytest.raises(SpecError, match="got an unexpected keyword argument 'depth'"):
        preflight(study(f"{own}:Net", options={"depth": 3}))
    message = r"must return logits \(8, 10\) .* in training, not \(8, 3\): it has no num_classes to set, but"
    with pytest.raises(ModelError, match=message):
        preflight(study(f"{fixed}:three"))


def test_patterns_choose_the_activations_to_replace(own: str) -> None:
    assert built(f"{own}:net", convert={"only": "block.*"}).sites.keys() == {"block.relu", "block.relu_2"}
    assert built(f"{own}:net", convert={"skip": ["block.*"]}).sites.keys() == {"relu_1"}
    tied = built(f"{own}:net", "prelu_channel", convert={"skip": "relu_1", "call_sites": "shared"})
    assert tied.sites.keys() == {"block.relu"}
    with pytest.raises(ModelError, match=r"block\.relu.*call_sites"):
        built(f"{own}:net", convert={"call_sites": "refuse"})
    with pytest.raises(ModelError, match="skip='blok' matches no activation"):
        built(f"{own}:net", convert={"skip": "blok"})
    with pytest.raises(SpecError, match=r"model.convert: model 'cnn' is built with the arm's activation"):
        preflight(study("cnn", convert={"skip": "act1"}))


OTHERS = """
import random
import torch
from torch import nn

class Tokens(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.embed, self.fc = nn.Linear(8, 6), nn.Linear(6, num_classes)
    def forward(self, x):
        return self.fc(nn.functional.gelu(self.embed(x[:, 0]), approximate="tanh").mean(1))

class Written(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(1, 6, 3), nn.Linear(6, num_classes)
        self.act = nn.PReLU(6, init=0.5)
        self.late = nn.LeakyReLU(0.5, inplace=True)
    def forward(self, x):
        x = self.act(self.conv(x))
        self.late(x - 1)
        y = x - 0.5
        self.late(y)
        return self.fc(y.mean((2, 3)))

class Named(Tokens):
    def forward(self, x): return {"loss": None, "logits": super().forward(x)}

class Several(Tokens):
    def forward(self, x): return super().forward(x), x

class Deep(nn.Sequential):
    def __init__(self, num_classes):
        halves = nn.MaxPool2d(4), nn.MaxPool2d(4)
        super().__init__(nn.Conv2d(1, 4, 3), nn.ReLU(), *halves, nn.Flatten(), nn.Linear(4, num_classes))

def silent(num_classes): return nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes))
def lucky(num_classes):
    net = Written(num_classes)
    with torch.no_grad(): net.fc.bias += random.random()
    return net
def raises(num_classes): raise RuntimeError("no such backbone")
def per_channel(channels): return nn.PReLU(channels)
"""


def test_channels_that_are_last_are_found(user_module: UserModule) -> None:
    name = user_module("other_nets", OTHERS)
    (prelu,) = built(f"{name}:Tokens", "prelu_channel").sites.values()
    assert (prelu.num_parameters, prelu.channel_dim) == (6, -1)
    (relu,) = built(f"{name}:Tokens", "relu").sites.values()
    assert relu.channel_dim == -1  # where the monitor counts its units
    with pytest.raises(
        ModelError, match=r"at gelu_1 the channels .* PReLU cannot be told: give it an attribute `channel_dim`"
    ):
        built(f"{name}:Tokens", f"{name}:per_channel")
    gelu = built(f"{name}:Tokens", "as_is")
    assert gelu.replaced == {"gelu_1": "gelu"}
    assert gelu.sites["gelu_1"].approximate == "tanh"


def test_slopes_of_the_users_own_are_the_arms_business(user_module: UserModule) -> None:
    """They are no weights of the pairing, and as_is keeps their values; in-place activations stay in place."""
    name = user_module("other_nets", OTHERS)
    preflight(study(f"{name}:Written", "relu,prelu_channel,as_is"))  # the monitor takes it, too
    arms = {arm: built(f"{name}:Written", arm) for arm in ("relu", "prelu_channel", "as_is")}
    assert len({model.init_digest() for model in arms.values()}) == 1
    assert "act.weight" not in arms["relu"].model.state_dict()
    assert arms["as_is"].sites["act"].weight.tolist() == [0.5] * 6
    assert {len(model.sites) for model in arms.values()} == {3}
    assert len({tuple(model.sites) for model in arms.values()}) == 1
    from other_nets import Written

    from slopewise.study._streams import derive

    torch.manual_seed(derive(0, "init"))
    assert torch.equal(arms["as_is"].model(IMAGES), Written(10)(IMAGES))
    x = torch.tensor([[-1.0]]).expand(1, 6)[..., None, None]
    assert arms["prelu_channel"].model.act(x).flatten().tolist() == [-0.25] * 6


def test_logits_are_taken_out_of_what_names_them(user_module: UserModule) -> None:
    name = user_module("other_nets", OTHERS)
    assert built(f"{name}:Named").model(IMAGES).shape == (2, 10)
    with pytest.raises(ModelError, match=r"must return logits \(8, 10\) \(images, classes\) in training, not tuple"):
        preflight(study(f"{name}:Several"))


@pytest.mark.parametrize(
    ("model", "arms", "message"),
    [
        ("silent", "relu", r"model 'other_nets:silent' on images \(2, 1, 8, 8\): no activation of Sequential was"),
        ("Deep", "relu", r"on images \(2, 1, 8, 8\): .*Images of 8 x 8 pixels may be too small for it: .*image_size"),
        ("lucky", "relu,elu", "starts from other weights each time that it is built from the same seed"),
        ("raises", "relu", r"model 'other_nets:raises' \(num_classes=10\) raised RuntimeError: no such backbone"),
    ],
)
def test_networks_that_cannot_be_studied_are_refused_before_any_trial(
    user_module: UserModule, model: str, arms: str, message: str
) -> None:
    name = user_module("other_nets", OTHERS)
    with pytest.raises(ModelError, match=message):
        preflight(study(f"{name}:{model}", arms))


def test_an_activation_that_does_not_run_is_named(own: str, user_module: UserModule) -> None:
    name = user_module(
        "broken_arm",
        "import torch\nclass Broken(torch.nn.Module):\n"
        "    def __init__(self, channels): super().__init__()\n"
        "    def forward(self, x): raise ValueError('no such shape')\n",
    )
    message = r"on images \(.*\), with Broken as its activation: .* new activations: ValueError: no such shape"
    with pytest.raises(ModelError, match=message):
        preflight(study(f"{own}:net", f"relu,{name}:Broken"))


def test_as_is_is_for_networks_that_have_activations() -> None:
    with pytest.raises(SpecError, match="arm 'as_is': model 'cnn' has no activations of its own"):
        preflight(study("cnn", "relu,as_is"))
    with pytest.raises(SpecError, match="'as_is' takes no options"):
        activation_factory(ArmSpec(name="mine", activation="as_is", options={"init": 0.0}))


def test_activations_that_conversion_leaves_or_assumptions_it_makes_are_noted(user_module: UserModule) -> None:
    name = user_module(
        "odd_nets",
        "import torch\nfrom torch import nn\n"
        "class Odd(nn.Module):\n"
        "    def __init__(self, num_classes):\n"
        "        super().__init__()\n"
        "        self.never, self.fc = nn.ReLU(), nn.Linear(64, num_classes)\n"
        "    def forward(self, x):\n"
        "        return self.fc(torch.relu(x).flatten(1))\n",
    )
    with pytest.warns(ConversionWarning, match=r"model 'odd_nets:Odd': never .*; relu_1: .* says it$"):
        checked = preflight(study(f"{name}:Odd"))
    assert checked.facts["activations_replaced"] == "1 relu"
    left, assumed = checked.facts["conversion_notes"]
    assert left == "never (relu) stays as it is: the example does not reach it"
    assert "1 is assumed" in assumed
    assert built(f"{name}:Odd", convert={"only": "relu_1", "channel_dim": {"relu_*": 1}}).notes == (left,)


def test_the_networks_of_the_docs_are_studied(user_module: UserModule) -> None:
    text = (Path(__file__).parents[3] / "docs" / "spec.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(# mynet\.py.*?)```", text, re.DOTALL)
    name = user_module("mynet", "\n".join(blocks))
    assert preflight(study(f"{name}:Net", "as_is,prelu_channel_0")).facts["activations_replaced"] == "3 relu"
    assert "activations_replaced" not in preflight(study(f"{name}:build")).facts
    for example in re.findall(r"```toml\n(?!# pyproject)(.*?)```", text, re.DOTALL):
        parse_spec(tomllib.loads(example))


def test_what_stays_is_said_before_training_and_what_needs_attention_first(user_module: UserModule) -> None:
    name = user_module(
        "gated_nets",
        "import torch\nfrom torch import nn\n"
        "class Gated(nn.Module):\n"
        "    def __init__(self, num_classes, in_channels):\n"
        "        super().__init__()\n"
        "        self.weights = nn.Parameter(torch.ones(4))\n"
        "        self.stem, self.fuse, self.act = nn.Conv2d(in_channels, 4, 3), nn.ReLU(), nn.PReLU()\n"
        "        self.squash, self.mix, self.fc = nn.Tanh(), nn.Conv2d(4, 4, 1), nn.Linear(4, num_classes)\n"
        "    def forward(self, x):\n"
        "        x = self.act(self.stem(x)) * self.fuse(self.weights).view(1, 4, 1, 1)\n"
        "        x = self.mix(self.squash(x))\n"
        "        return self.fc(torch.log(torch.relu(x) + 1e-3).mean((2, 3)))\n",
    )
    model = built(f"{name}:Gated", "prelu_channel_0")
    assert model.facts()["activations_replaced"] == "1 prelu, 1 relu"
    loud, sign, quiet = model.notes
    assert loud == "squash (tanh) stays as it is: it is bounded, which no PReLU is"
    assert sign.startswith("relu_1: its sign matters: it feeds a logarithm (log at gated_nets.py:")
    assert quiet == "fuse (relu) stays as it is: its input depends on no data"
    with pytest.warns(ConversionWarning, match="squash .* stays as it is"):
        preflight(study(f"{name}:Gated"))
    assert built(f"{name}:Gated", "as_is").sites.keys() == model.sites.keys()


def test_as_is_keeps_the_tie_of_a_prelu_at_several_places() -> None:
    class Loop(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convs, self.act = nn.ModuleList(nn.Conv2d(3, 3, 1) for _ in range(3)), nn.PReLU(init=0.4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for conv in self.convs:
                x = self.act(conv(x))
            return x.mean((2, 3))

    net = Loop()
    tied = converted(net, None, lambda make, count: make(count), torch.randn(2, 3, 4, 4), ConvertSpec())
    assert len(tied.sites) == 3
    assert len({id(site.weight) for site in tied.sites.values()}) == 1
    assert sum(p.numel() for p in tied.model.parameters()) == sum(p.numel() for p in net.parameters())
