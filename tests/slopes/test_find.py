"""Slopes in state dicts of real networks, with the layers counted by their classes."""

import pytest
import torch
from torch import nn

import slopewise as sw
from slopewise.optim import slope_name
from slopewise.slopes import FoundSlopes, find_slopes, inspect_slopes


def holders(model: nn.Module) -> list[str]:
    """Layers with learned slopes, by class."""
    return [name for name, module in model.named_modules() if slope_name(module)]


def certainties(slopes: FoundSlopes) -> dict[str, str]:
    return {layer.layer: layer.certainty for layer in slopes.layers}


def unet() -> nn.Module:
    from monai.networks.nets import UNet

    return UNet(2, 1, 2, (8, 16, 32), (2, 2), num_res_units=2)


def timm(name: str, **options: object) -> nn.Module:
    import timm as library

    return library.create_model(name, **options)


def fused() -> nn.Module:
    return nn.Sequential(
        sw.ConvBNPReLU(3, 8),
        sw.ConvBNPReLU(8, 8, num_parameters=1),
        nn.Flatten(),
        nn.Linear(8, 5),
        sw.BatchNormPReLU1d(5, affine=False),
    )


def layered() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.PReLU(8), nn.ConvTranspose2d(8, 6, 3), sw.PReLU(6), nn.PReLU()
    )


def transformer() -> nn.Module:
    from transformers import LlamaConfig, LlamaModel

    return LlamaModel(
        LlamaConfig(vocab_size=64, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2)
    )


WITH_SLOPES = {
    "MONAI's U-Net": (unet, "likely"),
    "timm's ResNet": (lambda: timm("test_resnet", act_layer="prelu"), "likely"),
    "fused": (fused, "certain"),
    "layers in a row": (layered, "likely"),
}
WITHOUT = {
    "layer scale": lambda: timm("convnext_atto"),
    "RMSNorm of images": lambda: timm("convnext_atto_rms"),
    "RMSNorm of tokens": transformer,
    "BatchNorm": lambda: timm("test_resnet"),
    "LayerNorm without bias": lambda: nn.Sequential(nn.Linear(3, 8), nn.LayerNorm(8, bias=False)),
}


@pytest.mark.parametrize("name", WITH_SLOPES)
def test_finds_all_slopes_and_nothing_else(name: str) -> None:
    make, certainty = WITH_SLOPES[name]
    model = make()
    assert certainties(find_slopes(model.state_dict())) == dict.fromkeys(holders(model), certainty)
    assert holders(model)


@pytest.mark.parametrize("name", WITHOUT)
def test_a_scale_is_no_slope(name: str) -> None:
    slopes = find_slopes(WITHOUT[name]().state_dict())
    assert set(certainties(slopes).values()) <= {"unclear"}
    assert all("scale of" in layer.evidence for layer in slopes.layers)


@pytest.mark.parametrize("name", ["RMSNorm of images", "RMSNorm of tokens"])
def test_a_scale_is_no_slope_after_training_either(name: str) -> None:
    state = WITHOUT[name]().state_dict()
    trained = {entry: tensor * 0.3 if tensor.ndim == 1 else tensor for entry, tensor in state.items()}
    assert set(certainties(find_slopes(trained)).values()) <= {"unclear"}


@pytest.mark.parametrize("layer", ["relu1", "act", "stages.0.act1", "acts.3", "bn1.act", "conv.PReLU_2", "prelu"])
def test_names_of_activations(layer: str) -> None:
    assert certainties(find_slopes({f"{layer}.weight": torch.ones(7)})) == {layer: "likely"}


@pytest.mark.parametrize(
    "layer", ["norm", "norms.3", "input_layernorm", "ln_1", "bn2", "q_norm", "criterion", "loss_fn"]
)
def test_names_of_others(layer: str) -> None:
    entry = f"{layer}.weight"
    assert find_slopes({entry: torch.full((7,), 0.2)}).rejected.keys() == {entry}
    assert certainties(find_slopes({entry: torch.full((7,), 0.2)}, also=[layer])) == {layer: "chosen"}


def test_class_weights_of_a_loss_do_not_cast_doubt_on_the_rest() -> None:
    state = {"0.weight": torch.ones(8, 3), "1.weight": torch.full((8,), 0.2), "loss.weight": torch.rand(8)}
    assert certainties(find_slopes(state)) == {"1": "likely"}


@pytest.mark.parametrize(
    ("slopes", "words"),
    [(torch.full((7,), 0.2), "no layer has so many channels"), (torch.ones(8), "around 1: it may be the scale")],
)
def test_a_nameless_weight_that_fits_badly_is_unclear(slopes: torch.Tensor, words: str) -> None:
    (layer,) = find_slopes({"0.weight": torch.ones(8, 3, 3, 3), "1.weight": slopes}).layers
    assert layer.certainty == "unclear"
    assert words in layer.evidence


def test_a_tensor_of_another_shape_or_context_is_no_slope() -> None:
    state = {
        "a.weight": torch.ones(1, 8, 1, 1),  # a 1×1 convolution without bias
        "b.weight": torch.ones(8), "b.bias": torch.ones(8),
        "c.weight": torch.ones(8), "c.inner.weight": torch.ones(8, 8),
        "d.weight": torch.ones(8, dtype=torch.int64),
        "e.weight": torch.empty(0),
        "f.slope": torch.ones(2, 4),
        "g.weight": torch.ones(8, device="meta"),
    }  # fmt: skip
    slopes = find_slopes(state)
    assert not slopes.layers
    assert not slopes.rejected


@pytest.mark.parametrize("shape", [(), (1,), (8,), (1, 8, 1, 1)])
def test_a_tensor_named_slope_is_one_in_any_shape_with_one_axis(shape: tuple[int, ...]) -> None:
    assert certainties(find_slopes({"a.slope": torch.zeros(shape)})) == {"a": "likely"}


def test_a_slope_that_does_not_fit_the_batch_norm_is_not_certain() -> None:
    assert certainties(find_slopes({"a.slope": torch.zeros(3), "a.running_mean": torch.zeros(8)})) == {"a": "likely"}


def test_a_bare_layer_has_no_name() -> None:
    (layer,) = find_slopes(nn.PReLU().state_dict()).layers
    assert (layer.layer, layer.entry) == ("", "weight")
    (layer,) = find_slopes(sw.BatchNormPReLU2d(3).state_dict()).layers
    assert (layer.layer, layer.entry, layer.certainty) == ("", "slope", "certain")


def test_parametrised_slopes_are_raw_and_not_judged() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), sw.PReLU(8), sw.BatchNormPReLU2d(8))
    nn.utils.parametrizations.weight_norm(model[0])
    nn.utils.parametrize.register_parametrization(model[1], "weight", nn.Softplus())
    nn.utils.parametrize.register_parametrization(model[2], "slope", nn.Softplus())
    with torch.no_grad():
        model[1].parametrizations.weight.original.fill_(-1.5)
        model[2].parametrizations.slope.original[0] = torch.nan
    first, second = inspect_slopes(model.state_dict()).layers
    assert (first.found.layer, first.found.raw, first.alarms) == ("1", True, ())
    assert [alarm.kind for alarm in second.alarms] == ["not finite"]
    assert "not the slopes in use" in first.remark


def test_slopes_of_other_libraries_are_recognised_by_the_layers_name() -> None:
    state = {
        "conv.weight": torch.ones(4, 3, 3, 3),
        "prelu1.weight": torch.rand(5, 6, 4),  # Keras: one for each pixel
        "features.prelu.weight": torch.rand(1, 4, 1, 1),
        "model/p_re_lu_1/alpha:0": torch.rand(1, 1, 4),
        "act.alpha": torch.rand(4),
        "prelu2.weight": torch.rand(4), "prelu2.bias": torch.rand(4),
        "elsewhere.alpha": torch.rand(4),
    }  # fmt: skip
    slopes = find_slopes(state)
    assert certainties(slopes) == {
        "prelu1": "likely", "features.prelu": "likely", "model/p_re_lu_1": "likely", "act": "unclear",
    }  # fmt: skip
    assert "a 5 x 6 x 4 weight" in slopes.layers[0].evidence
    assert "one for each pixel" in slopes.layers[0].evidence
    assert "pixel" not in slopes.layers[1].evidence


def test_a_layer_of_several_names_is_one() -> None:
    act, other = nn.PReLU(4), nn.PReLU(4)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), act, nn.Sequential(act), other)
    model.register_module("act", act)
    first, second = find_slopes(model.state_dict()).layers
    assert (first.layer, first.aliases) == ("1", ("2.0", "act"))
    assert (second.layer, second.aliases) == ("3", ())
    (alone,) = find_slopes(model.state_dict(), only=["act"]).layers
    assert (alone.layer, alone.aliases) == ("act", ())
    whole = torch.rand(8)  # halves of one memory are two layers
    assert len(find_slopes({"act1.weight": whole[:4], "act2.weight": whole[4:]}).layers) == 2
    inspected, _ = inspect_slopes(model.state_dict()).layers
    assert inspected.remark == "also known as 2.0, act"


def test_without_ties_equal_slopes_get_a_remark() -> None:
    state = {f"act{number}.weight": torch.tensor([0.3 if number < 2 else 0.4]) for number in range(3)}
    remarks = [layer.remark for layer in inspect_slopes(state, ties=False).layers]
    assert remarks == ["", "equal to act0: perhaps one layer, which this format does not say", ""]
    assert not any(layer.remark for layer in inspect_slopes(state).layers)


def test_patterns() -> None:
    state = layered().state_dict() | {"norm.weight": torch.ones(8), "norm.other": torch.ones(1)}
    state |= {"layer4.0.norm.weight": torch.ones(6), "layer4.0.act.weight": torch.zeros(6)}
    assert [*certainties(find_slopes(state, only=["layer4*"]))] == ["layer4.0.act"]
    assert [*certainties(find_slopes(state, only=["2", "4"], skip=["4"]))] == ["2"]
    assert [*find_slopes(state, skip=["*.norm"]).rejected] == []
    assert certainties(find_slopes(state, only=["layer4*"], also=["*norm"]))["layer4.0.norm"] == "chosen"


def test_a_pattern_of_also_that_fits_nothing_is_an_error() -> None:
    with pytest.raises(sw.errors.SlopewiseError, match=r"of its own fits 'atc'; did you mean 'act'\?"):
        find_slopes({"act.weight": torch.ones(1)}, also=["atc"])
    with pytest.raises(sw.errors.SlopewiseError, match="there is none"):
        find_slopes({}, also=["act"])


def test_no_slopes_is_an_error_that_says_what_was_looked_for() -> None:
    with pytest.raises(sw.errors.SlopewiseError, match=r"no slopes among the 2 tensors: looked for `slope` .*PReLU.$"):
        inspect_slopes(nn.Linear(2, 2).state_dict())
    with pytest.raises(sw.errors.SlopewiseError, match=r"5 of these, as 'layers.0.input_layernorm.weight', .*--also"):
        inspect_slopes(transformer().state_dict())
    with pytest.raises(sw.errors.SlopewiseError, match="patterns leave out all 3 layers with slopes: '2' to '5'"):
        inspect_slopes(layered().state_dict(), only=["absent"])


def test_unclear_layers_raise_no_alarm_until_they_are_named() -> None:
    state = {"0.weight": torch.ones(8, 3), "1.weight": torch.ones(8)}
    (unclear,) = inspect_slopes(state).layers
    assert (unclear.alarms, unclear.remark) == ((), "not judged: may be no slopes")
    (chosen,) = inspect_slopes(state, also=["1"]).layers
    assert [str(alarm) for alarm in chosen.alarms] == ["stuck at 1"]


def test_in_half_precision_equal_slopes_get_a_remark() -> None:
    (layer,) = inspect_slopes(sw.PReLU(8, dtype=torch.bfloat16).state_dict(), also=["*"]).layers
    assert (layer.alarms, layer.remark) == ((), "all 0.25 as bfloat16 rounds them")
