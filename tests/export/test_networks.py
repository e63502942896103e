"""Whole networks: fused layers, residuals, and libraries' networks whose activations are swapped by hand."""

import pytest
import torch
from torch import nn

import slopewise as sw
from slopewise.export import export_model

ALLOWED = {"Conv", "BatchNormalization", "Add", "PRelu", "MaxPool", "ReduceMean", "Flatten", "Reshape", "Gemm"}


class Residual(nn.Module):
    """Every fused way to the operators: block, block with residual, normalisation alone, frozen slopes, bounds."""

    def __init__(self):
        super().__init__()
        self.stem = sw.ConvBNPReLU(3, 8, num_parameters=1)
        self.first = sw.ConvBNPReLU(8, 8, low_memory=True)
        self.second = sw.ConvBNPReLU(8, 8, bounds=(-0.25, 0.5))
        self.norm = sw.BatchNormPReLU2d(8, init=0.1, learnable=False)
        self.head = nn.Linear(8, 4)
        self.act = sw.PReLU(4)

    def forward(self, x):
        x = self.stem(x)
        x = self.second(self.first(x), x)
        return self.act(self.head(self.norm(x).mean((2, 3))))


def same(path, model, runtime, *inputs):
    """Parity measured here, not by the package: relative to the greatest magnitude of each output."""
    with torch.no_grad():
        ours = model(*inputs) if not isinstance(inputs[0], dict) else model(**inputs[0])
    ours = ours if isinstance(ours, torch.Tensor) else ours[0]
    tensors = inputs if not isinstance(inputs[0], dict) else inputs[0].values()
    theirs = runtime(path, *tensors)[0]
    assert theirs.shape == ours.shape
    assert (theirs - ours).abs().max() <= 1e-5 * ours.abs().max()


def test_fused_layers_and_residuals(tmp_path, graph, runtime, settled):
    model = settled(Residual())
    report = export_model(model, torch.randn(4, 3, 8, 8), tmp_path / "a.onnx")
    seen = graph(tmp_path / "a.onnx")
    assert set(seen.kinds) <= ALLOWED
    assert seen.domains == {""}
    assert seen.functions == []
    assert b"slopewise" not in seen.text.replace(b"slopewise.", b"")  # but in the names of classes
    assert seen.kinds.count("PRelu") == report.prelu_nodes == 5
    assert [slope.shape for slope in seen.slopes] == [(1,), (8, 1, 1), (8, 1, 1), (8, 1, 1), (4,)]
    assert report.slopes["second.bn.slope"] == (8, 1, 1)
    assert -0.25 <= seen.constants["second.bn.slope"].min() <= seen.constants["second.bn.slope"].max() <= 0.5
    for batch in (1, 4, 9):
        same(tmp_path / "a.onnx", model, runtime, torch.randn(batch, 3, 8, 8))


@pytest.mark.parametrize(
    ("layer", "shape"),
    [(sw.BatchNormPReLU1d, (4, 3)), (sw.BatchNormPReLU1d, (4, 3, 6)), (sw.BatchNormPReLU3d, (4, 3, 2, 3, 4))],
)
def test_normalisation_of_other_ranks_with_a_residual(layer, shape, tmp_path, graph, runtime, settled):
    model = settled(layer(3))
    x, residual = torch.randn(shape), torch.randn(shape)
    export_model(model, (x, residual), tmp_path / "a.onnx")
    seen = graph(tmp_path / "a.onnx")
    assert seen.kinds == ["BatchNormalization", "Add", "PRelu"]
    assert seen.inputs == {"input": ["batch", *shape[1:]], "residual": ["batch", *shape[1:]]}
    for batch in (1, 7):
        same(tmp_path / "a.onnx", model, runtime, torch.randn(batch, *shape[1:]), torch.randn(batch, *shape[1:]))


def swap(module, old):
    """Every activation of these types becomes a PReLU of its own; returns how many."""
    swapped = 0
    for name, child in module.named_children():
        if isinstance(child, old):
            setattr(module, name, sw.PReLU())
            swapped += 1
        else:
            swapped += swap(child, old)
    return swapped


def transformers_resnet(kind):
    from transformers import ResNetConfig, ResNetForImageClassification

    config = ResNetConfig(embedding_size=8, hidden_sizes=[16, 16], depths=[1, 2], layer_type=kind)
    return ResNetForImageClassification(config), {"pixel_values": torch.randn(2, 3, 32, 32)}


def transformers_convnext():
    from transformers import ConvNextConfig, ConvNextForImageClassification

    config = ConvNextConfig(hidden_sizes=[8, 16], depths=[1, 1], num_stages=2)
    return ConvNextForImageClassification(config), {"pixel_values": torch.randn(2, 3, 32, 32)}


def transformers_mobilenet_v2():
    from transformers import MobileNetV2Config, MobileNetV2ForImageClassification

    config = MobileNetV2Config(image_size=32, depth_multiplier=0.35)
    return MobileNetV2ForImageClassification(config), {"pixel_values": torch.randn(2, 3, 32, 32)}


def monai_unet():
    from monai.networks.nets import UNet

    net = UNet(spatial_dims=3, in_channels=1, out_channels=2, channels=(4, 8, 16), strides=(2, 2), num_res_units=1)
    return net, torch.randn(2, 1, 8, 8, 8)


def monai_resnet():
    from monai.networks.nets import resnet10

    return resnet10(spatial_dims=3, n_input_channels=1, num_classes=3, widen_factor=0.125), torch.randn(
        2, 1, 16, 16, 16
    )


def monai_densenet():
    from monai.networks.nets import DenseNet

    net = DenseNet(spatial_dims=2, in_channels=1, out_channels=3, init_features=8, growth_rate=4, block_config=(2, 2))
    return net, torch.randn(2, 1, 32, 32)


NETWORKS = {
    "transformers ResNet, basic": (lambda: transformers_resnet("basic"), 7),
    "transformers ResNet, bottleneck": (lambda: transformers_resnet("bottleneck"), 10),
    "transformers ConvNeXt": (transformers_convnext, 2),
    "transformers MobileNetV2": (transformers_mobilenet_v2, 35),
    "MONAI UNet, 3-D": (monai_unet, 6),
    "MONAI ResNet, 3-D": (monai_resnet, 9),
    "MONAI DenseNet": (monai_densenet, 11),
}


@pytest.mark.slow
@pytest.mark.parametrize(("build", "sites"), NETWORKS.values(), ids=NETWORKS)
def test_networks_of_libraries(build, sites, tmp_path, graph, runtime, settled):
    from transformers.activations import GELUActivation

    model, example = build()
    swap(model, (nn.ReLU, nn.ReLU6, GELUActivation))
    settled(model, 0.0, 0.5)
    calls = []
    hooks = [
        module.register_forward_hook(lambda *_: calls.append(1))
        for module in model.modules()
        if isinstance(module, nn.PReLU)
    ]
    with torch.no_grad():
        model(**example) if isinstance(example, dict) else model(example)
    for hook in hooks:
        hook.remove()
    path = tmp_path / "a.onnx"
    report = export_model(model, example, path)
    seen = graph(path)
    assert seen.kinds.count("PRelu") == len(calls) == report.prelu_nodes == sites
    assert seen.domains == {""}
    assert not {"If", "Loop", "Scan"} & set(seen.kinds)
    assert all(dims[0] == "batch" for dims in [*seen.inputs.values(), *seen.outputs.values()])
    for batch in (1, 2, 5):
        if isinstance(example, dict):
            given = {"pixel_values": torch.randn(batch, *example["pixel_values"].shape[1:])}
        else:
            given = torch.randn(batch, *example.shape[1:])
        same(path, model, runtime, given)
