"""Conversion: parts of a model that it keeps, its options, and models that it refuses."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import slopewise as sw
from slopewise.errors import ConversionError

X = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(0))


def plain(act=nn.ReLU):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), act(), nn.Conv2d(4, 5, 3), act(), nn.Flatten(), nn.Linear(20, 2), act())


class Twice(nn.Module):
    def __init__(self, act=None):
        super().__init__()
        torch.manual_seed(0)
        self.conv1, self.conv2, self.act = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 6, 3), act or nn.ReLU()

    def forward(self, x):
        return self.act(self.conv2(self.act(self.conv1(x))))


def names(conversion):
    return [site.name for site in conversion.sites]


def test_shared_slopes():
    conversion = sw.convert(plain(), X, to="prelu_shared", init=0.1)
    assert [site.slopes for site in conversion.sites] == [1, 1, 1]
    assert all(conversion.model[i].weight.tolist() == [pytest.approx(0.1)] for i in (1, 3, 6))


def test_any_module_can_be_put_in():
    conversion = sw.convert(Twice(), X, to=lambda channels: nn.GroupNorm(1, channels))
    assert [m.num_channels for m in conversion.model.modules() if isinstance(m, nn.GroupNorm)] == [4, 6]
    assert conversion.proof.output.largest == 0  # compared with ReLU in the place of each
    assert (conversion.proof.exact, conversion.proof.others) == (0, 2)
    assert conversion.proof.start.largest > 0


def test_the_slopes_of_leaky_relu_and_prelu_are_kept():
    leaky = sw.convert(plain(lambda: nn.LeakyReLU(0.125)), X, init=0.5)
    assert leaky.model[1].weight.tolist() == [0.125] * 4
    assert leaky.proof.start.largest == 0
    act = nn.PReLU(4)
    with torch.no_grad():
        act.weight.copy_(torch.tensor([0.0, -0.5, 0.25, 2.0]))
    model = nn.Sequential(nn.Conv2d(3, 4, 3), act, nn.Conv2d(4, 4, 3), nn.PReLU(init=0.5))
    channel, shared = sw.convert(model, X), sw.convert(model, X, to="prelu_shared")
    assert channel.model[1].weight.tolist() == act.weight.tolist()
    assert channel.model[3].weight.tolist() == [0.5] * 4
    assert channel.proof.start.largest == 0
    assert shared.model[1].weight.tolist() == [0.4375]
    assert "mean" in shared.sites[0].differs
    assert shared.sites[1].differs == ""


def test_the_bounds_of_our_prelu_are_kept():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), sw.PReLU(init=0.5, bounds=(0.0, 1.0)))
    assert sw.convert(model, X).model[1].bounds == (0.0, 1.0)


def test_tying_on_purpose_and_refusing():
    tied = sw.convert(Twice(), X, to="prelu_shared", call_sites="shared")
    assert [(site.name, site.calls) for site in tied.sites] == [("act", 2)]
    assert type(tied.model) is Twice  # nothing had to be rewritten
    with pytest.raises(ConversionError, match=r"1 modules .* several places: act \(test_convert.py:\d+, .*separate"):
        sw.convert(Twice(), X, call_sites="refuse")
    assert len(sw.convert(plain(), X, call_sites="refuse").sites) == 3
    with pytest.raises(ConversionError, match="4 and 6 channels: to='prelu_shared' with call_sites='shared'"):
        sw.convert(Twice(), X, call_sites="shared")


def test_a_prelu_that_was_tied_is_untied_and_checkpoints_follow():
    model = Twice(nn.PReLU())
    conversion = sw.convert(model, X)
    assert names(conversion) == ["act", "act_2"]
    state = copy.deepcopy(model.state_dict())
    state["act.weight"].fill_(0.75)
    state["conv1.weight"].fill_(1.0)
    conversion.load_state_dict(state)
    assert conversion.model.act.weight.tolist() == [0.75] * 4
    assert conversion.model.act_2.weight.tolist() == [0.75] * 6
    assert conversion.model.conv1.weight.unique().tolist() == [1.0]


def test_checkpoints_of_another_model_are_refused():
    conversion = sw.convert(plain(), X)
    state = plain().state_dict()
    state["head.weight"] = state.pop("0.weight")
    with pytest.raises(RuntimeError, match=r"lacks 0.weight, and has besides head.weight"):
        conversion.load_state_dict(state)


@pytest.mark.parametrize("fuse", [False, True])
def test_a_checkpoint_of_the_original_loads_into_a_fused_conversion(fuse):
    def build():
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.PReLU(4), nn.Conv2d(4, 4, 3), nn.ReLU())

    torch.manual_seed(1)
    trained = build()
    with torch.no_grad():
        for p in trained.parameters():
            p.uniform_(-1, 1)
    conversion = sw.convert(build(), X, fuse=fuse, init=0.0)
    conversion.load_state_dict(trained.state_dict())
    torch.testing.assert_close(conversion.model.eval()(X), trained.eval()(X), rtol=1e-5, atol=1e-5)


class Tied(nn.Module):
    """One activation and one convolution, each at two places; in a list, one of them has a third name."""

    _version = 3

    def __init__(self, act=None):
        super().__init__()
        torch.manual_seed(0)
        self.conv1 = self.conv2 = nn.Conv2d(3, 3, 3, padding=1)
        self.act1 = self.act2 = act or nn.ReLU()
        self.more = nn.ModuleList([self.act1])
        self.found = []

    def forward(self, x):
        return self.act2(self.conv2(self.act1(self.conv1(x))))

    def _load_from_state_dict(self, state_dict, prefix, local_metadata, *args):
        self.found = [local_metadata.get("version")]
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *args)


@pytest.mark.parametrize("act", [nn.ReLU, lambda: nn.PReLU(init=0.1)])
@pytest.mark.parametrize("kept", ["1", "2"])
def test_one_name_of_a_tied_tensor_is_enough(act, kept):
    trained = Tied(act())
    nn.init.normal_(trained.conv1.weight)
    state = {key: value for key, value in trained.state_dict().items() if kept in key.split(".")[0]}
    conversion = sw.convert(Tied(act()), X, init=0.0)
    conversion.load_state_dict(state)
    assert torch.equal(conversion.model.eval()(X), trained.eval()(X))
    del state[f"conv{kept}.weight"]
    with pytest.raises(RuntimeError, match=r"it lacks conv1.weight, conv2.weight, and has besides nothing"):
        sw.convert(Tied(act()), X).load_state_dict(state)


def test_versions_of_modules_are_handed_on():
    conversion = sw.convert(Tied(), X)
    conversion.load_state_dict(Tied().state_dict())
    assert conversion.model.found == [3]
    conversion.load_state_dict(dict(Tied().state_dict()))
    assert conversion.model.found == [None]


def test_only_and_skip_by_name_kind_and_class():
    class Branches(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.head = plain(), Twice()

        def forward(self, x):
            return self.stem(x), self.head(x), F.silu(self.stem[0](x))

    def converted(**selection):
        return names(sw.convert(Branches(), X, **selection))

    assert converted(only="stem") == ["stem.1", "stem.3", "stem.6"]
    assert converted(only=["head.*", "silu"]) == ["head.act", "head.act_2", "silu_1"]
    assert converted(skip="relu") == ["silu_1"]
    assert converted(only=nn.ReLU, skip="stem.1") == ["stem.3", "stem.6", "head.act", "head.act_2"]
    assert converted(only=Twice) == ["head.act", "head.act_2"]
    # What is left out is not touched either.
    model = sw.convert(Branches(), X, only="stem.*").model
    assert type(model.head) is Twice
    with pytest.raises(ConversionError, match=r"skip='steam.\*' matches no activation; did you mean 'stem."):
        sw.convert(Branches(), X, skip="steam.*")
    with pytest.raises(TypeError, match="only takes names"):
        sw.convert(Branches(), X, only=3)


def test_unknown_channels_are_assumed_with_a_warning_or_given():
    bare = nn.Sequential(nn.ReLU())
    x = torch.randn(2, 5, 7)
    with pytest.warns(
        sw.ConversionWarning, match=r"nothing tells .* \(2, 5, 7\) .* dimension 1 is assumed: pass channel"
    ):
        conversion = sw.convert(bare, x)
    assert (conversion.sites[0].slopes, conversion.sites[0].evidence) == (5, "assumed")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert sw.convert(bare, x, channel_dim=-1).model[0].weight.numel() == 7
        assert sw.convert(bare, x, channel_dim={"0": 2}).model[0].channel_dim == 2
        assert sw.convert(bare, x, to="prelu_shared").model[0].weight.numel() == 1
    with pytest.raises(ConversionError, match="channel_dim=4 is no dimension"):
        sw.convert(bare, x, channel_dim=4)


def test_unbatched_images_have_their_channels_third_from_the_end():
    model = sw.convert(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), torch.randn(3, 6, 6)).model
    assert model[1].channel_dim == -3
    assert model(X).shape == (2, 4, 4, 4)


def test_training_mode_frozen_weights_and_dtype_are_kept():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.PReLU(4), nn.ReLU()).to(torch.bfloat16)
    model[1].eval()
    model[0].requires_grad_(requires_grad=False)
    model[2].weight.requires_grad_(requires_grad=False)
    conversion = sw.convert(model, X.bfloat16(), init=0.0)
    new = conversion.model
    assert [m.training for m in new] == [True, False, True, True]
    assert {name for name, p in new.named_parameters() if not p.requires_grad} == {"0.weight", "0.bias", "2.weight"}
    assert {p.dtype for p in new.parameters()} == {torch.bfloat16}
    assert conversion.proof.output.largest == 0
    assert new.train()(X.bfloat16()).dtype is torch.bfloat16


def test_hooks_come_along():
    model, seen = Twice(), []
    model.act.register_forward_hook(lambda module, args, output: seen.append(tuple(output.shape)))
    model.act.register_forward_pre_hook(lambda module, args, kwargs: (args, kwargs), with_kwargs=True)
    model.register_forward_hook(lambda module, args, output: output + 1)
    conversion = sw.convert(model, X, init=0.0)
    seen.clear()
    torch.testing.assert_close(conversion.model(X), model(X), rtol=0, atol=0)
    assert seen == [(2, 4, 4, 4), (2, 6, 2, 2)] * 2
    gradients = []
    model = plain()
    model[1].register_full_backward_hook(lambda module, given, got: gradients.append(got[0].shape))
    converted = sw.convert(model, X).model
    gradients.clear()
    converted(X).sum().backward()
    assert gradients == [(2, 4, 4, 4)]


def test_the_meta_device_gives_a_model_without_evidence():
    with torch.device("meta"):
        model = plain()
    conversion = sw.convert(model, X.to("meta"))
    assert conversion.proof is None
    assert "no values (meta device)" in str(conversion)
    assert {p.device.type for p in conversion.model.parameters()} == {"meta"}
    assert [site.slopes for site in conversion.sites] == [4, 5, 2]


def test_wrappers():
    parallel = sw.convert(nn.DataParallel(Twice()), X, init=0.0)
    assert isinstance(parallel.model, nn.DataParallel)
    assert names(parallel) == ["module.act", "module.act_2"]
    parallel.load_state_dict(nn.DataParallel(Twice()).state_dict())
    torch.testing.assert_close(parallel.model(X), Twice()(X), rtol=0, atol=0)
    compiled = sw.convert(torch.compile(Twice(), backend="eager"), X, init=0.0)
    assert isinstance(compiled.model, Twice)
    assert any("torch.compile" in note for note in compiled.notes)


def test_a_conversion_compiles_and_traces():
    model = sw.convert(Twice(), X).model.eval()
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(X), model(X))
    torch.testing.assert_close(torch.fx.symbolic_trace(model)(X), model(X))
    torch.testing.assert_close(torch.export.export(model, (X,)).module()(X), model(X))


def test_ambiguous_sites_stay_with_a_warning():
    class Stubborn(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, padding=1)

        def forward(self, x):
            x = torch.relu(self.conv(x))
            while x.sum() > 1e9:
                x = x / 2
            for _ in range(2):
                x = F.relu(self.conv(x))
            return F.prelu(x, torch.tensor(0.5))

    torch.manual_seed(0)
    with pytest.warns(sw.ConversionWarning, match="3 activations stay as they are, such as prelu_1"):
        conversion = sw.convert(Stubborn(), X, init=0.0)
    assert names(conversion) == ["relu_1"]
    assert "is made several times" in str(conversion)
    assert "what Stubborn hands to it" in str(conversion)  # the slope of F.prelu
    assert conversion.proof.output.largest == 0
    with pytest.warns(sw.ConversionWarning, match="1 activations stay as they are, such as prelu_1"):
        tied = sw.convert(Stubborn(), X, call_sites="shared")
    assert [site.calls for site in tied.sites] == [1, 2]


def test_modes_that_do_not_run_and_sites_that_are_not_reached():
    model = nn.Sequential(nn.Flatten(), nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU()).eval()
    model.spare = nn.Module()
    model.spare.act = nn.ReLU()
    del model._modules["spare"]
    conversion = sw.convert(model, torch.randn(1, 3))
    assert conversion.proof.modes == ("evaluation",)
    assert any("does not run on the example in training mode" in note for note in conversion.notes)
    with pytest.raises(ConversionError, match="does not run on example_inputs in training mode: ValueError"):
        sw.convert(model.train(), torch.randn(1, 3))


def test_a_network_without_a_backward_pass_has_evidence_of_its_outputs():
    class InferenceAlone(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.act = nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True)

        def forward(self, x):
            return self.act(torch.sigmoid(self.conv(x)))

    conversion = sw.convert(InferenceAlone(), X, init=0.0)
    assert conversion.proof.output.largest == 0
    assert conversion.proof.gradient is None
    assert "the backward pass of the model given fails in evaluation mode: one of the variables" in str(conversion)


def test_other_activations_are_compared_by_themselves():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU6(), nn.GELU(), nn.Hardswish(inplace=True), nn.ELU(), nn.SiLU())
    conversion = sw.convert(model, 10 * X, init=0.0, channel_dim=1)
    assert [site.kind for site in conversion.sites] == ["relu6", "gelu", "hardswish", "elu", "silu"]
    assert conversion.proof.start.largest > 0
    assert "values above 6 are no longer capped" in str(conversion)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"to": "prelu"}, ValueError, "unknown to='prelu'; did you mean"),
        ({"init": float("nan")}, ValueError, "init must be a finite number"),
        ({"call_sites": "tied"}, ValueError, "unknown call_sites='tied'; .*separate, shared, refuse"),
    ],
)
def test_wrong_arguments_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        sw.convert(plain(), X, **arguments)


def test_nothing_to_convert_says_what_was_looked_for():
    with pytest.raises(ConversionError, match=r"no activation of Linear was converted. Looked for, .*relu, relu6"):
        sw.convert(nn.Sequential(nn.Linear(3, 3))[0], torch.randn(2, 3))
    with pytest.raises(ConversionError, match="does not run on example_inputs in training mode: RuntimeError"):
        sw.convert(plain(), torch.randn(2, 4, 6, 6))
    with pytest.raises(ConversionError, match=r"0\.weight is not initialised yet: run the model once"):
        sw.convert(nn.Sequential(nn.LazyConv2d(4, 3), nn.ReLU()), X)
    with pytest.raises(TypeError, match=r"model must be a torch\.nn\.Module, got function"):
        sw.convert(F.relu, X)


def test_the_table():
    text = str(sw.convert(Twice(), X, init=0.0))
    lines = text.splitlines()
    assert lines[0] == "2 call sites converted (2 relu); +10 parameters"
    assert lines[4].split("  ")[0] == "act"
    assert "act_2  ReLU  2×6×2×2  dim 1 (Conv2d)  6" in text
    assert "(the model): in its source, since its act is applied at 2 places" in text
    assert "outputs differ by 0\n" in text


class TwoNames(nn.Module):
    """A network's parts have names of their own besides the chain that is run."""

    def __init__(self):
        super().__init__()
        self.parts = nn.ModuleDict({"conv": nn.Conv2d(3, 4, 1), "act": nn.ELU()})
        self.chain = nn.Sequential(self.parts["conv"], self.parts["act"], nn.Conv2d(4, 2, 1))

    def forward(self, x):
        return self.chain(x)


class Power(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.exponent = nn.Parameter(torch.ones(channels, 1, 1))

    def forward(self, x):
        return x * self.exponent


def test_other_names_of_new_parameters_are_no_gap_in_a_checkpoint():
    net, x = TwoNames(), torch.randn(2, 3, 4, 4)
    conversion = sw.convert(TwoNames(), x, to=Power)
    conversion.load_state_dict(net.state_dict())
    assert torch.equal(conversion.model.chain[0].weight, net.chain[0].weight)
    gone = {"parts.conv.weight", "chain.0.weight"}  # the names of one tensor
    with pytest.raises(RuntimeError, match=r"lacks parts\.conv\.weight, chain\.0\.weight, and has besides nothing"):
        conversion.load_state_dict({k: v for k, v in net.state_dict().items() if k not in gone})
