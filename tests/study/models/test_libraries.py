"""Networks of libraries by name, in this process: built from the seed alone, whole trials, names that are not there."""

import re
import sys

import pytest
import torch

from slopewise.errors import ModelError, SpecError
from slopewise.records import TrialRecord
from slopewise.study import ModelSpec, StudySpec, parse_spec, preflight, run_trial
from slopewise.study.models import build_model

RESNET = {"embedding_size": 4, "hidden_sizes": [4, 8], "depths": [1, 1], "layer_type": "basic"}


def study(name: str, arms: str, **options: object) -> StudySpec:
    fields = {"data": {"train_size": 100}, "train": {"epochs": 1}, "seeds": [3, 4]}
    return parse_spec({**fields, "arms": arms, "model": {"name": name, "options": options}})


def trials(spec: StudySpec) -> list[TrialRecord]:
    data = preflight(spec).data
    return [run_trial(spec, arm.name, 3, data) for arm in spec.arms]


def test_a_resnet_of_transformers() -> None:
    relu, prelu = trials(study("transformers:ResNetForImageClassification", "relu,prelu_channel_0", **RESNET))
    assert relu.init_digest == prelu.init_digest
    assert relu.score("validation", "loss", 0) == prelu.score("validation", "loss", 0)
    assert [site.layer for site in prelu.sites if site.epoch == 1] == [
        "resnet.embedder.embedder.activation",
        "resnet.encoder.stages.0.layers.0.layer.0.activation",
        "resnet.encoder.stages.0.layers.0.activation",
        "resnet.encoder.stages.1.layers.0.layer.0.activation",
        "resnet.encoder.stages.1.layers.0.activation",
    ]
    assert prelu.slope_parameters == 3 * 4 + 2 * 8
    assert not prelu.diverged


@pytest.mark.slow
def test_a_convnext_of_transformers_has_its_channels_last() -> None:
    options = {"hidden_sizes": [4, 8], "depths": [1, 1], "num_stages": 2, "patch_size": 2}
    as_is, gelu, prelu = trials(
        study("transformers:ConvNextForImageClassification", "as_is,gelu,prelu_channel", **options)
    )
    assert as_is.init_digest == gelu.init_digest == prelu.init_digest
    assert as_is.score("validation", "loss", 0) == gelu.score("validation", "loss", 0)
    assert [(site.units, site.slopes) for site in prelu.sites if site.epoch == 0] == [(16, 16), (32, 32)]
    assert [site.units for site in gelu.sites if site.epoch == 0] == [16, 32]


@pytest.mark.slow
def test_a_resnet_of_timm() -> None:
    relu, prelu = trials(study("timm:resnet10t", "relu,prelu_shared_0"))
    assert relu.init_digest == prelu.init_digest
    assert relu.score("validation", "loss", 0) == pytest.approx(prelu.score("validation", "loss", 0), rel=1e-6)
    assert prelu.slope_parameters == len({site.layer for site in prelu.sites}) == 11


@pytest.mark.slow
def test_a_classifier_of_torchvision_sees_grey_as_three_channels() -> None:
    spec = ModelSpec(name="torchvision:squeezenet1_1")
    images = torch.randn(2, 1, 32, 32)
    grey = build_model(spec, None, num_classes=4, in_channels=1, seed=0, example=images)
    rgb = build_model(spec, None, num_classes=4, in_channels=3, seed=0, example=images.expand(-1, 3, -1, -1))
    assert torch.equal(grey.model.eval()(images), rgb.model.eval()(images.expand(-1, 3, -1, -1)))
    assert grey.facts() == {
        "activations_replaced": "26 relu",
        "conversion_notes": ["classifier.2: its sign matters: it feeds the model's output"],
    }
    with pytest.raises(ModelError, match="takes images of 3 channels, or grey ones, not of 4: name a function"):
        build_model(spec, None, num_classes=4, in_channels=4, seed=0, example=torch.randn(2, 4, 32, 32))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("transformers:ResNetForImageClassificatio", {}, "transformers has no model 'ResNetForImageClassificatio' for"),
        (
            "transformers:AutoModelForImageClassification",
            {},
            "has no model 'AutoModelForImageClassification' for image",
        ),
        (
            "transformers:ResNetForImageClassification",
            {"depth": [1]},
            "unknown key 'model.options.depth' of ResNetConfig",
        ),
        ("timm:resnet18a", {}, "timm has no model 'resnet18a' for image classification; near it: resnet18"),
        ("torchvision:resnet17", {}, "torchvision has no model 'resnet17' for image classification; near it: resnet"),
        ("torchvision:fcn_resnet50", {}, "torchvision has no model 'fcn_resnet50' for"),
        ("timn:resnet18", {}, "cannot import module 'timn'"),
    ],
)
def test_unknown_names_are_refused(name: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError, match=re.escape(message)):
        preflight(study(name, "relu", **options))


@pytest.mark.parametrize("library", ["transformers", "timm", "torchvision"])
def test_a_library_that_is_not_installed_is_named(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(SpecError, match=f"model '{library}:resnet18' needs {library}: pip install {library}"):
        preflight(study(f"{library}:resnet18", "relu"))
