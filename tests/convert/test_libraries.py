"""Networks of transformers, MONAI, timm and torchvision, small, with random weights."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import onnx
import onnxruntime
import pytest
import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.modules.batchnorm import _BatchNorm

import slopewise as sw

from .shortened import shortened

IMAGE, VOLUME = (3, 32, 32), (1, 16, 16, 16)


def transformers_resnet(layer_type):
    from transformers import ResNetConfig, ResNetForImageClassification

    sizes = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 2], "num_labels": 5}
    return ResNetForImageClassification(ResNetConfig(layer_type=layer_type, **sizes))


def transformers_convnext():
    from transformers import ConvNextConfig, ConvNextForImageClassification

    sizes = {"hidden_sizes": [8, 16], "depths": [1, 2], "num_stages": 2, "num_labels": 5}
    return ConvNextForImageClassification(ConvNextConfig(layer_scale_init_value=1.0, **sizes))


def transformers_mobilenet():
    from transformers import MobileNetV2Config, MobileNetV2ForImageClassification

    config = MobileNetV2Config(
        image_size=32, depth_multiplier=0.35, output_stride=8, num_labels=5, classifier_dropout_prob=0.0
    )
    return shortened(MobileNetV2ForImageClassification(config))


def monai_unet():
    from monai.networks.nets import UNet

    return UNet(3, 1, 2, channels=(4, 8, 16), strides=(2, 2), num_res_units=1)


def monai_resnet():
    from monai.networks.nets import resnet10

    # Its pooling in three dimensions would pass no negative value on, and the first slopes would get no gradient.
    size = {"widen_factor": 0.125, "conv1_t_stride": 2, "no_max_pool": True}
    return resnet10(spatial_dims=3, n_input_channels=1, num_classes=5, **size)


def monai_densenet():
    from monai.networks.nets import DenseNet

    return DenseNet(2, 3, 5, init_features=8, growth_rate=4, block_config=(2, 2))


def timm_resnet():
    from timm import create_model

    return create_model("resnet18", num_classes=5, layers=(1, 1, 1, 1), channels=(8, 8, 16, 16))


def timm_densenet():
    """Its normalisation layers hold their activations (BatchNormAct2d)."""
    from timm.models.densenet import DenseNet

    return DenseNet(growth_rate=4, block_config=(2, 2), num_classes=5)


def torchvision_resnet():
    from torchvision.models.resnet import BasicBlock, ResNet

    net = ResNet(BasicBlock, [1, 1, 1, 1], num_classes=5)
    net.layer3, net.layer4, net.fc = nn.Identity(), nn.Identity(), nn.Linear(128, 5)  # most weights are in these two
    return net


@dataclass(frozen=True)
class Network:
    """Builder of a network, and from its definition the kind of its activations and the dimension of their channels."""

    build: Callable[[], nn.Module]
    kind: str = "relu"
    shape: tuple[int, ...] = IMAGE
    channel_dim: int = 1
    fused: int = 0  # activations right behind a torch.nn.BatchNorm, or behind the sum of one and a residual

    def inputs(self, batch, seed=0):
        return torch.randn(batch, *self.shape, generator=torch.Generator().manual_seed(seed))


NETWORKS = {
    "transformers ResNet, basic": Network(lambda: transformers_resnet("basic"), fused=1 + 3 * 2),
    "transformers ResNet, bottleneck": Network(lambda: transformers_resnet("bottleneck"), fused=1 + 3 * 3),
    "transformers ConvNeXt": Network(transformers_convnext, "gelu", channel_dim=-1),
    "transformers MobileNetV2": Network(transformers_mobilenet, "relu6", fused=3 + 7 * 2),
    "MONAI UNet, 3-D": Network(monai_unet, "prelu", VOLUME),
    "MONAI ResNet, 3-D": Network(monai_resnet, shape=VOLUME, fused=1 + 4 * 2),
    "MONAI DenseNet": Network(monai_densenet, fused=1 + 4 * 2 + 2),
    "timm ResNet": Network(timm_resnet, fused=1 + 4 * 2),
    "timm DenseNet": Network(timm_densenet, fused=1 + 4 * 2 + 2),
    "torchvision ResNet": Network(torchvision_resnet, fused=1 + 2 * 2),
}
RESNETS = [name for name in NETWORKS if "ResNet" in name]
FUSED = (sw.BatchNormPReLU2d, sw.BatchNormPReLU3d)
EVERY = pytest.mark.parametrize("name", NETWORKS)
EVERY_TWICE = pytest.mark.parametrize(
    ("name", "fuse"), [(name, fuse) for name in NETWORKS for fuse in (False, True) if NETWORKS[name].fused or not fuse]
)


def trained(name, seed=0):
    """Return a network whose statistics, scales and slopes are not the initial ones, as after training."""
    torch.manual_seed(seed)
    net = NETWORKS[name].build()
    for module in net.modules():
        if isinstance(module, _BatchNorm):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.2, 0.2)
            module.momentum = 0.5
        elif isinstance(module, nn.PReLU):
            nn.init.uniform_(module.weight, 0.05, 0.5)
    with torch.no_grad():
        for _ in range(3):
            net.train()(torch.randn(8, *NETWORKS[name].shape))
    return net.eval()


network = cache(trained)


@cache
def converted(name, **arguments):
    return sw.convert(network(name), NETWORKS[name].inputs(4), **arguments)


def call(net, x):
    outputs = net(x.clone())
    return outputs if isinstance(outputs, torch.Tensor) else outputs.logits


def output(net, x, *, training=False):
    with torch.no_grad():
        return call(copy.deepcopy(net).train(training), x)


def relative(expected, got):
    return float((expected - got).detach().abs().max() / expected.detach().abs().max())


def gradients(net, x):
    """Of a fixed random weighting of the outputs, by parameter; the outputs first."""
    net.zero_grad()
    outputs = call(net, x)
    (outputs * torch.randn(outputs.shape, generator=torch.Generator().manual_seed(2)).to(outputs)).sum().backward()
    return {"": outputs} | {name: p.grad for name, p in net.named_parameters() if p.grad is not None}


def same(expected, got, tolerance):
    """Assert that tensors agree, relative to the largest gradient; names that only one has are left out."""
    largest = max(float(tensor.detach().abs().max()) for name, tensor in expected.items() if name)
    assert relative(expected[""], got[""]) < tolerance
    for name in expected.keys() & got.keys() - {""}:
        assert (expected[name] - got[name]).abs().max() < tolerance * largest, name


def slopes(conversion, model):
    """The slopes of every site in a model, in the order of the forward pass."""
    sites = [model.get_submodule(site.name) for site in conversion.sites]
    return [site.slope if isinstance(site, FUSED) else site.weight for site in sites]


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@EVERY
def test_every_call_site_is_found_with_its_own_channels(name, oracle):
    given, conversion = NETWORKS[name], converted(name, init=0.0)
    with oracle(kinds=("relu", "relu6", "gelu", "prelu")) as watched:
        output(network(name), given.inputs(4))
    assert {kind for kind, _ in watched.seen} == {given.kind}
    assert sum(site.calls for site in conversion.sites) == watched.calls
    assert [(site.kind, site.shape) for site in conversion.sites] == watched.seen
    assert [site.slopes for site in conversion.sites] == [shape[given.channel_dim] for _, shape in watched.seen]
    assert [s.numel() for s in slopes(conversion, conversion.model)] == [site.slopes for site in conversion.sites]
    assert conversion.skipped == ()
    own = sum(m.weight.numel() for m in network(name).modules() if isinstance(m, nn.PReLU))
    assert conversion.added == sum(site.slopes for site in conversion.sites) - own
    with oracle(kinds=("relu", "relu6", "gelu")) as watched:
        output(conversion.model, given.inputs(4))
    assert watched.calls == 0
    assert not any(type(module) is nn.PReLU for module in conversion.model.modules())


@EVERY
@pytest.mark.parametrize("training", [True, False])
def test_slope_zero_preserves_the_outputs_bit_for_bit(name, training, oracle):
    kind, conversion = NETWORKS[name].kind, converted(name, init=0.0)
    assert conversion.proof.output.largest == 0
    assert conversion.proof.gradient.relative < 1e-6
    exact = kind in ("relu", "prelu")  # MONAI's UNet keeps the slopes that it has
    assert (conversion.proof.exact, conversion.proof.others) == ((len(conversion.sites), 0)[:: 1 if exact else -1])
    x = NETWORKS[name].inputs(3, seed=1)
    with oracle(kinds=(kind,)) as watched:
        expected = output(network(name), x, training=training)
    got = output(conversion.model, x, training=training)
    if exact or (kind == "relu6" and watched.largest <= 6):
        assert torch.equal(expected, got)
    else:  # GELU is curved, and ReLU6 caps: the proof above compares with these themselves
        assert not torch.equal(expected, got)


@EVERY
@pytest.mark.parametrize("training", [True, False])
def test_another_slope_is_what_a_leaky_relu_at_every_site_would_be(name, training, oracle):
    kind, x = NETWORKS[name].kind, NETWORKS[name].inputs(3, seed=1)
    with oracle(0.0 if kind == "prelu" else 0.25, kinds=(kind,)):
        expected = output(network(name), x, training=training)
    assert relative(expected, output(converted(name, init=0.25).model, x, training=training)) < 1e-5


@EVERY
def test_every_site_has_slopes_of_its_own_that_get_their_gradient(name, oracle):
    """In float64: slopes drawn at random, against the oracle with these."""
    given, conversion = NETWORKS[name], converted(name, init=0.25)
    model, original = (copy.deepcopy(net).double() for net in (conversion.model, network(name)))
    x = given.inputs(3, seed=1).double()
    expected = []
    for site, slope in zip(conversion.sites, slopes(conversion, model), strict=True):
        nn.init.uniform_(slope, -0.5, 1.5)
        dims = range(-len(site.shape), 0)
        shape = [-1 if dim % len(dims) == given.channel_dim % len(dims) else 1 for dim in dims]
        expected.append(slope.detach().clone().view(shape).requires_grad_())
    with oracle(expected, kinds=(given.kind,)):
        original_gradients = gradients(original, x)
    got = gradients(model, x)
    for want, slope in zip(expected, slopes(conversion, model), strict=True):
        assert (want.grad.flatten() - slope.grad).abs().max() < 1e-10 * want.grad.abs().max()
    assert original_gradients.keys() <= got.keys()
    same(original_gradients, got, 1e-10)


@EVERY_TWICE
def test_twenty_steps_move_every_slope_and_lower_the_loss(name, fuse):
    conversion = converted(name, init=0.25, fuse=fuse)
    model, x = copy.deepcopy(conversion.model).train(), NETWORKS[name].inputs(8, seed=1)
    before = [slope.detach().clone() for slope in slopes(conversion, model)]
    groups = sw.param_groups(model, lr=0.05)
    assert groups[2]["name"] == "slopes"
    assert {id(p) for p in groups[2]["params"]} == {id(slope) for slope in slopes(conversion, model)}
    optimizer = torch.optim.SGD(groups, momentum=0.9)
    target, losses = torch.randint(0, 2, call(model, x).amax(1).shape), []
    for _ in range(20):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(call(model, x), target)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert all(torch.tensor(losses).isfinite())
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])
    moved = [old != new for old, new in zip(before, slopes(conversion, model), strict=True)]
    assert all(site.any() for site in moved)
    assert torch.cat(moved).float().mean() > 0.95  # a channel may have no negative input


@EVERY
def test_untouched_slopes_are_un_converted(name):
    conversion, x = converted(name, init=0.0), NETWORKS[name].inputs(3, seed=1)
    folding = sw.fold(conversion.model, NETWORKS[name].inputs(4), batch_norm=False)
    kind = nn.LeakyReLU if NETWORKS[name].kind == "prelu" else nn.ReLU  # MONAI's slopes are one for all channels
    assert {type(folding.model.get_submodule(site.name)) for site in conversion.sites} == {kind}
    assert len(folding.steps) == len(conversion.sites)
    assert folding.change.largest == 0
    assert torch.equal(output(conversion.model, x), output(folding.model, x))
    assert folding.removed == sum(site.slopes for site in conversion.sites)


def onnx_outputs(path, x):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {session.get_inputs()[0].name: x.numpy()})[0])


@pytest.mark.slow
@EVERY_TWICE
def test_a_conversion_is_the_same_in_onnx_runtime(name, fuse, tmp_path):
    conversion = converted(name, init=0.25, fuse=fuse)
    model, path = copy.deepcopy(conversion.model), tmp_path / "net.onnx"
    for slope in slopes(conversion, model):
        nn.init.uniform_(slope, 0.0, 0.5)
    report = sw.export_model(model, NETWORKS[name].inputs(2), path)
    graph = onnx.load(path).graph
    kinds = [node.op_type for node in graph.node]
    assert kinds.count("PRelu") == report.prelu_nodes == sum(site.calls for site in conversion.sites)
    assert {node.domain for node in graph.node} == {""}
    assert not {"If", "Loop", "Scan", "Relu", "LeakyRelu"} & set(kinds)
    assert all(value.type.tensor_type.shape.dim[0].dim_param == "batch" for value in (*graph.input, *graph.output))
    for batch in (1, 2, 5):
        x = NETWORKS[name].inputs(batch, seed=1)
        assert relative(output(model, x), onnx_outputs(path, x)) <= 1e-5


@EVERY
def test_all_that_stands_behind_a_normalisation_is_fused(name):
    plain, conversion = converted(name, init=0.0), converted(name, init=0.0, fuse=True, low_memory=True)
    fused = [site for site in conversion.sites if site.fused]
    assert len(fused) == NETWORKS[name].fused == sum(isinstance(m, FUSED) for m in conversion.model.modules())
    assert all(conversion.model.get_submodule(site.name).low_memory for site in conversion.sites)
    assert [site.shape for site in conversion.sites] == [site.shape for site in plain.sites]
    assert network(name).state_dict().keys() <= conversion.model.state_dict().keys()
    assert conversion.added == plain.added


@pytest.mark.parametrize("name", RESNETS)
@pytest.mark.parametrize("low_memory", [False, True])
def test_fusing_keeps_outputs_gradients_and_statistics(name, low_memory):
    """In float64 and training mode, where the only difference is the order of operations."""
    one, other = converted(name, init=0.25), converted(name, init=0.25, fuse=True, low_memory=low_memory)
    plain, fused = (copy.deepcopy(conversion.model).double().train() for conversion in (one, other))
    x = torch.randn(4, NETWORKS[name].shape[0], *(2 * size for size in NETWORKS[name].shape[1:])).double()
    for a, b in zip(slopes(one, plain), slopes(other, fused), strict=True):
        nn.init.uniform_(a, 0.05, 1.2)
        b.data.copy_(a.detach())
    expected, got = gradients(plain, x), gradients(fused, x)
    assert network(name).state_dict().keys() <= plain.state_dict().keys() & fused.state_dict().keys()
    assert {name for name, _ in network(name).named_parameters()} <= expected.keys() & got.keys()
    same(expected, got, 1e-11)
    for a, b in zip(slopes(one, plain), slopes(other, fused), strict=True):
        assert (a.grad - b.grad).abs().max() < 1e-11 * a.grad.abs().max()
    for key, value in fused.state_dict().items():
        if key in network(name).state_dict():  # running statistics have moved
            torch.testing.assert_close(value, plain.state_dict()[key], rtol=1e-11, atol=1e-11)
    if low_memory:
        assert saved_bytes(fused, x.float()) < 0.8 * saved_bytes(plain, x.float())


def saved_bytes(model, x):
    """Bytes that a float32 forward pass keeps for the backward pass, weights apart."""
    model = copy.deepcopy(model).float()
    storages = {p.untyped_storage().data_ptr(): 0 for p in model.parameters()}

    def pack(tensor):
        storage = tensor.untyped_storage()
        storages.setdefault(storage.data_ptr(), storage.nbytes())
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        out = call(model, x)
    assert out.requires_grad
    return sum(storages.values())


@EVERY_TWICE
def test_a_checkpoint_of_the_original_loads(name, fuse):
    conversion, x = copy.deepcopy(converted(name, init=0.0, fuse=fuse)), NETWORKS[name].inputs(3, seed=1)
    another = trained(name, seed=1)
    conversion.load_state_dict(another.state_dict())
    if NETWORKS[name].kind == "gelu":
        weights = conversion.model.state_dict()
        assert all(torch.equal(weights[key], value) for key, value in another.state_dict().items())
    else:
        assert relative(output(another, x), output(conversion.model, x)) < 1e-5


@pytest.mark.slow
def test_every_activation_that_timm_makes_a_prelu_is_a_site(oracle):
    """timm's class is a subclass of PyTorch's, and stands beside ReLUs and gates."""
    from timm import create_model

    net = create_model("mobilenetv3_small_050", num_classes=5, act_layer="prelu").eval()
    x = torch.randn(2, 3, 32, 32)
    with oracle(kinds=("prelu", "relu")) as watched:
        output(net, x)
    conversion = sw.convert(net, x)
    assert [(site.kind, site.shape) for site in conversion.sites] == watched.seen
    assert {kind for kind, _ in watched.seen} == {"prelu", "relu"}
    assert {(refusal.kind, refusal.quiet) for refusal in conversion.skipped} == {("hardsigmoid", True)}
    assert conversion.proof.output.largest == 0
