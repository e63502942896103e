"""A checkpoint as the start: its forms, checkpoints that do not fit, and refusal of another one on resume."""

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import slopewise as sw
from slopewise.convert import ConversionWarning
from slopewise.errors import ModelError, SpecError, StoreError
from slopewise.study import ArmSpec, ModelSpec, StudySpec, parse_spec, preflight
from slopewise.study.arms import activation_factory
from slopewise.study.engines import Engine
from slopewise.study.models import BuiltModel, build_model, checkpoint_facts

State = dict[str, torch.Tensor]
IMAGES = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def state(own: str) -> State:
    """Weights of the user's network, as training might have left them, with a head for 5 classes."""
    from own_net import net

    torch.manual_seed(99)
    return {
        name: tensor + torch.rand_like(tensor) if tensor.is_floating_point() else tensor + 7
        for name, tensor in net(5, 1).state_dict().items()
    }


def built(spec: ModelSpec, arm: str = "relu", num_classes: int = 5) -> BuiltModel:
    factory = activation_factory(ArmSpec(name=arm, activation=arm))
    return build_model(spec, factory, num_classes=num_classes, in_channels=1, seed=0, example=IMAGES)


def as_safetensors(state: State, path: Path) -> None:
    save_file(state, path)


def as_checkpoint(state: State, path: Path) -> None:
    torch.save({"state_dict": state, "epoch": 3, "optimizer": {"state": {}, "param_groups": []}}, path)


def as_lightning(state: State, path: Path) -> None:
    torch.save({"state_dict": {f"model.{name}": tensor for name, tensor in state.items()}}, path)


def of_a_wrapped_model(state: State, path: Path) -> None:
    torch.save({f"module._orig_mod.{name}": tensor for name, tensor in state.items()}, path)


@pytest.mark.parametrize("save", [torch.save, as_safetensors, as_checkpoint, as_lightning, of_a_wrapped_model])
def test_every_arm_starts_from_it(own: str, state: State, tmp_path: Path, save: Callable[[State, Path], None]) -> None:
    save(state, tmp_path / "best")
    spec = ModelSpec(name=f"{own}:net", checkpoint=tmp_path / "best")
    arms = {arm: built(spec, arm) for arm in ("relu", "prelu_channel_0", "prelu_channel", "as_is")}
    for model in arms.values():
        weights = model.model.state_dict()
        assert all(torch.equal(weights[name], tensor) for name, tensor in state.items())
    from own_net import net

    theirs = net(5, 1).eval()
    theirs.load_state_dict(state)
    for arm, model in arms.items():
        assert torch.equal(model.model.eval()(IMAGES), theirs(IMAGES)) == (arm != "prelu_channel")
    assert len({model.init_digest() for model in arms.values()}) == 1


def test_a_head_of_another_size_starts_at_random_when_asked_to(own: str, state: State, tmp_path: Path) -> None:
    torch.save(state, tmp_path / "best.pt")
    fields = {"name": f"{own}:net", "checkpoint": str(tmp_path / "best.pt")}
    with pytest.raises(ModelError) as caught:
        built(ModelSpec(**fields), num_classes=10)
    assert str(caught.value) == (
        f"model.checkpoint: '{tmp_path}/best.pt' does not fit model 'own_net:net': fc.weight is (5, 4) there and "
        "(10, 4) here, fc.bias is (5,) there and (10,) here. To start without these tensors: model.checkpoint_skip = "
        '["fc.*"]'
    )
    model = built(ModelSpec(**fields, checkpoint_skip="fc.*"), num_classes=10).model
    fresh = built(ModelSpec(name=fields["name"]), num_classes=10).model
    assert torch.equal(model.stem.weight, state["stem.weight"])
    assert torch.equal(model.fc.weight, fresh.fc.weight)
    same_size = built(ModelSpec(**fields, checkpoint_skip=["fc.*"])).model.state_dict()
    assert not torch.equal(same_size["fc.weight"], state["fc.weight"])


def under(prefix: str, state: State) -> State:
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}


def others(state: State) -> State:
    return {name: torch.zeros_like(tensor) for name, tensor in state.items()}


def started(model: BuiltModel, state: State) -> bool:
    own = model.model.state_dict()
    return all(torch.equal(own[name], tensor) for name, tensor in state.items())


WRAPPED: dict[str, tuple[Callable[[State], State], tuple[str, ...]]] = {
    "Lightning, any attribute": (lambda state: under("backbone.", state), ()),
    "DDP in a wrapper, compiled": (lambda state: under("module.net._orig_mod.", state), ()),
    "FSDP": (lambda state: under("_fsdp_wrapped_module.trunk._fsdp_wrapped_module.", state), ()),
    "Fabric": (lambda state: under("_forward_module.", state), ()),
    "PEFT": (lambda state: under("base_model.model.", state), ()),
    "averaged in Lightning": (lambda state: under("module.model.", state) | {"n_averaged": torch.tensor(3)}, ()),
    "losses and metrics": (
        lambda state: under("net.", state) | {"criterion.weight": torch.ones(5), "val_acc.total": torch.tensor(3)},
        ("the checkpoint, read under 'net.': left criterion.weight, val_acc.total",),
    ),
    "metrics beside no prefix": (
        lambda state: state | {"trainAUROC.bins": torch.ones(3), "loss_fn.weight": torch.ones(5)},
        ("the checkpoint: left trainAUROC.bins, loss_fn.weight",),
    ),
    "a moving average beside": (
        lambda state: under("model.", state) | under("ema.module.", others(state)),
        (
            "the checkpoint, read under 'model.': left ema.module.stem.weight, ema.module.stem.bias, "
            "ema.module.block.conv1.weight, ema.module.block.norm1.weight and 12 more",
            "the checkpoint fits under 'ema.module.' as well: "
            'model.checkpoint_prefix = "ema.module." starts from that',
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize("wrapper", WRAPPED)
def test_the_network_is_found_in_what_was_saved(own: str, state: State, tmp_path: Path, wrapper: str) -> None:
    wrap, notes = WRAPPED[wrapper]
    torch.save(wrap(state), tmp_path / "x.pt")
    model = built(ModelSpec(name=f"{own}:net", checkpoint=tmp_path / "x.pt"))
    assert started(model, state)
    assert model.notes == notes


def test_of_two_networks_one_must_be_named(own: str, state: State, tmp_path: Path) -> None:
    torch.save(under("left.", others(state)) | under("right.", state), tmp_path / "x.pt")
    spec = ModelSpec(name=f"{own}:net", checkpoint=tmp_path / "x.pt")
    with pytest.raises(
        ModelError, match=r"fits .* under 'left\.' and under 'right\.': say which, as model.checkpoint_pre"
    ):
        built(spec)
    assert started(built(spec.model_copy(update={"checkpoint_prefix": "right."})), state)
    with pytest.raises(SpecError, match=r"model.checkpoint_prefix: no tensor begins with 'rigth\.'; .*'right\.'"):
        built(spec.model_copy(update={"checkpoint_prefix": "rigth."}))
    torch.save({"g": state, "d": others(state)}, tmp_path / "x.pt")
    with pytest.raises(ModelError, match=r"pick one with model\.checkpoint_key, as model\.checkpoint_key=g"):
        built(spec)


def test_a_head_of_another_size_is_named_under_a_prefix(own: str, state: State, tmp_path: Path) -> None:
    torch.save(under("net.", state), tmp_path / "x.pt")
    spec = ModelSpec(name=f"{own}:net", checkpoint=tmp_path / "x.pt")
    with pytest.raises(ModelError, match=r"under 'net\.', .*fc.weight is \(5, 4\) there .* = \[\"fc\.\*\"\]"):
        built(spec, num_classes=10)
    assert torch.equal(
        built(spec.model_copy(update={"checkpoint_skip": ("fc.*",)}), num_classes=10).model.stem.weight,
        state["stem.weight"],
    )


TIED = """
from torch import nn


class Tied(nn.Module):
    _version = 2

    def __init__(self, num_classes, in_channels):
        super().__init__()
        self.stem, self.conv1 = nn.Conv2d(in_channels, 4, 3), nn.Conv2d(4, 4, 3, padding=1)
        self.conv2, self.act, self.fc = self.conv1, nn.ReLU(), nn.Linear(4, num_classes)

    def forward(self, x):
        return self.fc(self.act(self.conv2(self.act(self.conv1(self.act(self.stem(x)))))).mean((2, 3)))

    def _load_from_state_dict(self, state_dict, prefix, metadata, *args):
        self.read = metadata.get("version")
        super()._load_from_state_dict(state_dict, prefix, metadata, *args)
"""


@pytest.mark.parametrize("prefix", ["", "module.", "net."])
def test_tied_tensors_and_versions(user_module: Callable[[str, str], str], tmp_path: Path, prefix: str) -> None:
    spec = ModelSpec(name=f"{user_module('tied_net', TIED)}:Tied", checkpoint=tmp_path / "x.pt")
    from tied_net import Tied

    model = Tied(5, 1)
    state = model.state_dict()
    saved = OrderedDict((f"{prefix}{name}", t) for name, t in state.items() if "conv2" not in name)
    saved._metadata = {f"{prefix}{name}".removesuffix("."): facts for name, facts in state._metadata.items()}
    torch.save(saved, tmp_path / "x.pt")
    loaded = built(spec)
    assert started(loaded, state)
    assert loaded.model.read == 2
    del saved[f"{prefix}conv1.weight"]
    torch.save(saved, tmp_path / "x.pt")
    with pytest.raises(ModelError, match=r"it lacks conv1\.weight, conv2\.weight\. "):
        built(spec)


def test_a_network_that_seeds_itself_is_refused(user_module: Callable[[str, str], str]) -> None:
    code = "import torch\ndef net(num_classes):\n    torch.manual_seed(7)\n    return torch.nn.Linear(64, num_classes)"
    with pytest.raises(ModelError, match=r"sets the seed of torch's generator while it is built.*take its manual_seed"):
        built(ModelSpec(name=f"{user_module('seeded_net', code)}:net"))


def test_a_start_that_no_seed_changes_gets_a_note(own: str, user_module: Callable[[str, str], str]) -> None:
    code = (
        "import torch\nfrom own_net import Net\n"
        "def net(num_classes):\n    with torch.random.fork_rng():\n        torch.manual_seed(7)\n"
        "        return Net(num_classes)\n"
    )
    spec = {"model": {"name": f"{user_module('forked_net', code)}:net"}, "arms": "relu", "seeds": 2}
    with pytest.warns(ConversionWarning, match="starts from the same weights with every seed"):
        preflight(parse_spec(spec))
    preflight(parse_spec({**spec, "model": {"name": f"{own}:net"}}))  # without a warning


def test_nothing_is_left_out_silently(own: str, state: State, tmp_path: Path) -> None:
    path = tmp_path / "best.pt"
    spec = ModelSpec(name=f"{own}:net", checkpoint=path)
    torch.save({**state, "aux.weight": torch.ones(2)}, path)
    with pytest.raises(ModelError, match=r"it has besides aux\.weight\. To start .* = \[\"aux\.\*\"\]"):
        built(spec)
    built(spec.model_copy(update={"checkpoint_skip": ("aux.*",)}))
    torch.save({name: tensor for name, tensor in state.items() if not name.startswith("stem")}, path)
    with pytest.raises(ModelError, match=r"it lacks stem\.weight, stem\.bias\. To start .* = \[\"stem\.\*\"\]"):
        built(spec)
    torch.save({"features.0.weight": torch.ones(3, 3)}, path)
    with pytest.raises(
        ModelError, match=r"and 10 more; it has besides features\.0\.weight\. It seems to be of another"
    ):
        built(spec)
    torch.save(state, path)
    with pytest.raises(SpecError, match=r"model.checkpoint_skip: 'head.\*' matches no tensor"):
        built(spec.model_copy(update={"checkpoint_skip": ("head.*",)}))


def test_a_network_built_with_the_arms_activation_can_start_from_one_too(tmp_path: Path) -> None:
    """Its slopes are skipped in every arm, because the arm sets them."""
    trained = {n: t + 1 for n, t in built(ModelSpec(), "prelu_channel").model.state_dict().items()}
    torch.save(trained, tmp_path / "cnn.pt")
    spec = ModelSpec(checkpoint=tmp_path / "cnn.pt")
    relu, prelu = built(spec, "relu"), built(spec, "prelu_channel")
    assert torch.equal(relu.model.conv3.weight, trained["conv3.weight"])
    assert relu.init_digest() == prelu.init_digest()
    assert prelu.model.act1.weight.tolist() == [0.25] * 16


def test_the_spec_of_a_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"model.checkpoint_skip: there is no model.checkpoint"):
        parse_spec({"model": {"checkpoint_skip": "fc.*"}})
    with pytest.raises(SpecError, match=r"model.checkpoint_key: there is no model.checkpoint"):
        parse_spec({"model": {"checkpoint_key": "ema"}})
    with pytest.raises(SpecError, match=r"unknown key 'model.convert.skp'; did you mean 'skip'"):
        parse_spec({"model": {"convert": {"skp": "fc.*"}}})
    home = parse_spec({"model": {"checkpoint": "~/best.pt"}}).model.checkpoint
    assert home == str(Path.home() / "best.pt")


def test_a_file_that_cannot_be_read_is_found_before_anything_runs(own: str, tmp_path: Path) -> None:
    def spec(**model: object) -> StudySpec:
        return parse_spec({"model": {"name": f"{own}:net", **model}, "arms": "relu"})

    with pytest.raises(ModelError, match=r"model.checkpoint: cannot read the checkpoint 'absent.pt': No such file"):
        preflight(spec(checkpoint="absent.pt"))
    (tmp_path / "text.pt").write_text("no tensors")
    with pytest.raises(ModelError, match=r"model.checkpoint: .* is text: fetch the checkpoint itself"):
        preflight(spec(checkpoint=tmp_path / "text.pt"))
    from own_net import net

    both = {name: net(10, 1).state_dict() for name in ("model", "ema")}
    torch.save(both, tmp_path / "two.pt")
    with pytest.raises(ModelError, match="holds several state dicts, 'model'"):
        preflight(spec(checkpoint=tmp_path / "two.pt"))
    preflight(spec(checkpoint=tmp_path / "two.pt", checkpoint_key="ema"))


def test_a_checkpoint_is_recognised_by_its_content(tmp_path: Path) -> None:
    def digest(state: State, save: Callable[[State, Path], None] = torch.save) -> str:
        save(state, tmp_path / "file")
        return checkpoint_facts(ModelSpec(checkpoint=tmp_path / "file"))["checkpoint_digest"]

    a, b = torch.arange(4.0), torch.arange(4.0) + 1
    first = digest({"a": a, "b": b})
    assert digest({"b": b, "a": a}, as_safetensors) == first
    assert digest({"a": b, "b": a}) != first
    assert digest({"a": a.reshape(2, 2), "b": b}) != first
    assert digest({"a": a, "b": b.double()}) != first
    assert checkpoint_facts(ModelSpec()) == {}


def test_a_study_goes_on_from_its_own_checkpoint_alone(
    own: str, state: State, tmp_path: Path, in_process: Engine
) -> None:
    (tmp_path / "elsewhere").mkdir()
    first, moved, other = tmp_path / "best.pt", tmp_path / "elsewhere" / "b.safetensors", tmp_path / "other.pt"
    torch.save(state, first)
    save_file(state, moved)
    torch.save({**state, "stem.bias": state["stem.bias"] + 1e-7}, other)
    settings = {"data": {"train_size": 100}, "train": {"epochs": 1}}

    def study(arms: str, checkpoint: Path | None) -> sw.Study:
        skip = {"checkpoint": checkpoint, "checkpoint_skip": ["fc.*"]} if checkpoint else {}
        return sw.Study(arms=arms, seeds=1, model={"name": f"{own}:net", **skip}, **settings)

    out = tmp_path / "out"
    one = study("relu", first).run(out, engine=in_process).record
    grown = study("relu,prelu_channel_0", moved).run(out, engine=in_process).record
    assert grown.data["checkpoint_digest"] == one.data["checkpoint_digest"]
    relu, prelu = grown.trials
    assert relu.init_digest == prelu.init_digest == one.trials[0].init_digest
    assert relu.score("validation", "loss", 0) == prelu.score("validation", "loss", 0)
    with pytest.raises(StoreError, match=r"the checkpoint changed since .* was begun \(digest \w{12}, now \w{12}\)"):
        study("relu,prelu_channel_0,elu", other).run(out, engine=in_process)
    with pytest.raises(StoreError, match=r"holds another study: model.checkpoint_skip was"):
        study("relu,prelu_channel_0,elu", None).run(out, engine=in_process)
