"""Networks of libraries, converted and folded, with statistics far from their initial values."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

import slopewise as sw
from slopewise.convert import fold

from .shortened import shortened


def timm(name):
    def make():
        import timm

        return timm.create_model(name, num_classes=5)

    return make


def transformers_resnet(layer_type):
    def make():
        from transformers import ResNetConfig, ResNetForImageClassification

        sizes = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [2, 2], "num_labels": 5}
        return ResNetForImageClassification(ResNetConfig(layer_type=layer_type, **sizes))

    return make


def mobilenet():
    from transformers import MobileNetV2Config, MobileNetV2ForImageClassification

    config = MobileNetV2Config(image_size=32, depth_multiplier=0.35, num_labels=5)
    return shortened(MobileNetV2ForImageClassification(config))


def unet(norm):
    def make():
        from monai.networks.nets import UNet

        return UNet(3, 3, 2, channels=(4, 8, 16), strides=(2, 2), num_res_units=2, norm=norm, act="PRELU")

    return make


def densenet():
    from monai.networks.nets import DenseNet

    return DenseNet(2, 3, 5, init_features=8, growth_rate=4, block_config=(2, 2))


IMAGE, VOLUME = (4, 3, 32, 32), (2, 3, 16, 16, 16)
# How many batch normalisations there are, and how many of them follow a convolution whose output nothing else needs:
# counted in the networks' definitions. A dense layer's first one follows a concatenation, its second one a convolution.
NETWORKS = {
    "timm resnet10t": (timm("resnet10t"), IMAGE, 14, 14),
    "transformers resnet, basic": (transformers_resnet("basic"), IMAGE, 10, 10),
    "transformers resnet, bottleneck": (transformers_resnet("bottleneck"), IMAGE, 14, 14),
    "transformers mobilenet v2": (mobilenet, IMAGE, 4 + 7 * 3, 4 + 7 * 3),
    "monai unet, batch": (unet("BATCH"), VOLUME, None, None),
    "monai unet, instance": (unet("INSTANCE"), VOLUME, 0, 0),
    "monai densenet": (densenet, IMAGE, 1 + 4 * 2 + 2, 1 + 4),
}


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def trained(net, shape):
    """Give a network the statistics, weights and slopes of training: far from 0 and 1, different for each channel."""
    for module in net.modules():
        if isinstance(module, _BatchNorm):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.3)
            module.momentum = 0.5
    net.train()
    with torch.no_grad():
        for _ in range(3):
            net(torch.randn(shape))
    return net.eval()


def output(net, x):
    with torch.no_grad():
        outputs = net(x)
    return (outputs if isinstance(outputs, torch.Tensor) else outputs.logits).double()


def relative(one, other):
    return float((one - other).abs().max() / one.abs().max())


SLOW = ("timm resnet10t", "transformers mobilenet v2")


@pytest.mark.parametrize("fuse", [False, True])
@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in NETWORKS])
def test_a_network_is_folded_and_un_converted(name, fuse):
    make, shape, norms, foldable = NETWORKS[name]
    net = trained(make(), shape)
    x, another = torch.randn(shape), torch.randn(shape)
    # MONAI's UNet has PReLUs of its own, which conversion leaves at their slope.
    own = [m for m in net.modules() if isinstance(m, nn.PReLU)]
    layers = sum(isinstance(m, _BatchNorm) for m in net.modules())
    conversion = sw.convert(net, x, init=0.0, fuse=fuse)
    assert sum(type(m) is nn.PReLU for m in conversion.model.modules()) == 0

    plain = fold(conversion.model, x, batch_norm=False).model
    assert torch.equal(output(plain, another), output(net, another))
    expected = nn.LeakyReLU if own else nn.ReLU
    sites = [m for m in plain.modules() if type(m) is expected]
    assert len(sites) >= len(conversion.sites) > 0
    assert not any(isinstance(m, nn.PReLU) for m in plain.modules())

    folding = fold(conversion.model, x)
    assert relative(output(net, another), output(folding.model, another)) < 1e-5
    assert relative(output(net, x), output(folding.model, x)) == pytest.approx(folding.change.relative, abs=1e-6)
    folded = len(folding.of("fold"))
    assert layers - folded == sum(isinstance(m, _BatchNorm) for m in folding.model.modules())
    assert (layers, folded) == ((norms, foldable) if norms is not None else (layers, layers))
    per_sample = sum(isinstance(m, nn.InstanceNorm3d) for m in net.modules())
    assert len(folding.skipped) == layers - folded + per_sample


@pytest.mark.parametrize("name", ["transformers resnet, basic", "monai unet, batch"])
def test_slopes_of_every_sort_settle_within_the_tolerance(name):
    make, shape, *_ = NETWORKS[name]
    net, x = trained(make(), shape), torch.randn(shape)
    model = sw.convert(net, x, fuse=True).model
    slopes = [m.slope if hasattr(m, "slope") else m.weight for m in model.modules() if hasattr(m, "shared_gradient")]
    for place, slope in enumerate(slopes):
        middle = (0.0, 1.0, 0.3, 0.6)[place % 4]
        nn.init.uniform_(slope, middle - (width := 10.0 ** -(1 + place % 5)), middle + width)
    model.eval()
    before = fold(model, x, slopes=False)
    for tolerance in (0.0, 1e-5, 1e-3):
        folding = fold(model, x, tolerance=tolerance)
        total = relative(output(before.model, x), output(folding.model, x))
        assert total <= tolerance
        assert folding.changes["settle"].relative == pytest.approx(total, rel=1e-6)
        assert len(folding.of("settle")) + sum(r.kind == "PReLU" for r in folding.skipped) == len(slopes)
    assert 0 < len(folding.of("settle")) < len(slopes)


@pytest.mark.parametrize("frozen", [False, True])
def test_normalisation_with_an_activation_inside_is_folded(frozen):
    """timm's BatchNormAct2d calls the function itself; its frozen sister writes everything out."""
    from timm.layers import freeze_batch_norm_2d
    from timm.models.densenet import DenseNet

    x, another = torch.randn(2, 3, 32, 32), torch.randn(2, 3, 32, 32)
    net = trained(DenseNet(growth_rate=4, block_config=(2, 2), num_classes=5), (2, 3, 32, 32))
    net = freeze_batch_norm_2d(net) if frozen else net
    folding = fold(net, x)
    assert {step.was for step in folding.steps} == {"FrozenBatchNormAct2d" if frozen else "BatchNormAct2d"}
    # The stem's, and the second one of each of four dense layers; all others follow a concatenation.
    assert len(folding.steps) == 1 + 4
    assert len(folding.skipped) == 4 + 1 + 1
    assert all("follows" in refusal.reason for refusal in folding.skipped)
    assert relative(output(net, another), output(folding.model, another)) < 1e-5
    assert isinstance(folding.model.features.norm0.act, nn.ReLU)
