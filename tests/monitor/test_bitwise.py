"""Training with a monitor gives the same bits as without one: weights, buffers, optimizer, random state."""

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import slopewise as sw


class Residual(nn.Module):
    """Activations in place, as functions and modules, a shortcut, dropout; one activation twice."""

    def __init__(self, act, norm=nn.BatchNorm2d, fused=None):
        super().__init__()
        self.stem, self.conv1, self.conv2 = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 1)
        self.norm1, self.norm2, self.act, self.fused = norm(8), norm(8), act, fused
        self.drop, self.head = nn.Dropout(0.3), nn.Linear(8, 4)

    def forward(self, x):
        x = F.leaky_relu(self.stem(x), 0.1, inplace=True)
        if self.fused is None:
            y = self.act(self.norm1(self.conv1(x)))
            x = self.act(self.norm2(self.conv2(y)) + x)
        else:
            y = self.fused[0](self.conv1(x))
            x = self.fused[1](self.conv2(y), residual=x)
        x = F.rrelu(self.drop(x), training=True)
        return self.head(F.silu(x.mean((2, 3))))


def fused(**options):
    layers = (sw.BatchNormPReLU2d(8, num_parameters=slopes, **options) for slopes in (8, 1))
    return Residual(None, fused=nn.ModuleList(layers))


def negative():
    model = fused()
    nn.init.uniform_(model.fused[0].slope, -0.5, 0.5)
    return model


MODELS = {
    "relu in place": lambda: Residual(nn.ReLU(inplace=True)),
    "prelu": lambda: Residual(sw.PReLU(8)),
    "shared prelu, torch's": lambda: Residual(nn.PReLU()),
    "prelu, low memory": lambda: Residual(sw.PReLU(8, low_memory=True)),
    "fused": fused,
    "fused, low memory": lambda: fused(low_memory=True),
    "fused, negative slopes": negative,
    "group norm, gelu": lambda: Residual(nn.GELU(), norm=lambda c: nn.GroupNorm(2, c)),
}


def train(model, call, every=None, *, steps=4, optimizer=torch.optim.AdamW, autocast=False, evaluation=False):
    """All that training leaves behind, as bytes."""
    torch.manual_seed(2)
    optimizer = optimizer(model.parameters(), lr=1e-2)
    monitor = None if every is None else sw.watch(model, every=every, evaluation=evaluation)
    for step in range(steps):
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            loss = call(model)
        loss.backward()
        gradients = [p.grad for p in model.parameters()]
        optimizer.step()
        if step % 2:
            with torch.no_grad():
                call(model.eval())
            model.train()
    if monitor is not None:
        monitor.close()
        assert len(monitor.samples) == len(range(0, steps, every)) + evaluation  # the last evaluates after all steps
        assert all(sample.sites for sample in monitor.samples)
    left = model.state_dict(), optimizer.state_dict(), gradients, torch.get_rng_state()
    return [pickle.dumps(_plain(part)) for part in left]


def _plain(part):
    if isinstance(part, torch.Tensor):
        return part.detach().view(-1).view(torch.uint8).numpy().tobytes() if part.numel() else b""
    if isinstance(part, dict):
        return {str(key): _plain(value) for key, value in part.items()}
    return [_plain(value) for value in part] if isinstance(part, (list, tuple)) else part


def images(model):
    x = torch.randn(4, 3, 6, 6)
    return F.cross_entropy(model(x).float(), torch.arange(4))


@pytest.mark.parametrize("name", MODELS)
def test_training_is_bitwise_the_same(name):
    torch.manual_seed(1)
    model = MODELS[name]()
    plain = train(copy.deepcopy(model), images)
    assert train(copy.deepcopy(model), images, 1) == plain
    assert train(model, images, 3) == plain


@pytest.mark.parametrize("options", [{"autocast": True}, {"evaluation": True}])
@pytest.mark.parametrize("name", ["relu in place", "prelu", "fused"])
def test_also_under_autocast_and_when_evaluation_counts(name, options):
    torch.manual_seed(1)
    model = MODELS[name]()
    plain = train(copy.deepcopy(model), images, **{k: v for k, v in options.items() if k != "evaluation"})
    assert train(model, images, 1, **options) == plain


def transformers_resnet():
    from transformers import ResNetConfig, ResNetForImageClassification

    sizes = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 2], "num_labels": 5}
    return ResNetForImageClassification(ResNetConfig(layer_type="basic", **sizes))


def transformers_convnext():
    from transformers import ConvNextConfig, ConvNextForImageClassification

    return ConvNextForImageClassification(
        ConvNextConfig(hidden_sizes=[8, 16], depths=[1, 2], num_stages=2, num_labels=5)
    )


def monai_unet():
    from monai.networks.nets import UNet

    return UNet(2, 3, 5, channels=(4, 8, 16), strides=(2, 2), num_res_units=1)


def timm_resnet():
    from timm import create_model

    return create_model("resnet18", num_classes=5, channels=(8, 8, 16, 16))


def timm_densenet():
    from timm.models.densenet import DenseNet

    return DenseNet(growth_rate=4, block_config=(2, 2), num_classes=5)


def torchvision_mobilenet():
    from torchvision.models import mobilenet_v3_small

    return mobilenet_v3_small(num_classes=5, width_mult=0.25)


LIBRARIES = {
    function.__name__: function
    for function in (
        transformers_resnet,
        transformers_convnext,
        monai_unet,
        timm_resnet,
        timm_densenet,
        torchvision_mobilenet,
    )
}


def library_loss(model):
    output = model(torch.randn(4, 3, 32, 32))
    output = output if isinstance(output, torch.Tensor) else output.logits
    return output.square().mean()


@pytest.mark.slow
@pytest.mark.parametrize("name", LIBRARIES)
def test_networks_of_libraries_train_the_same_and_all_their_sites_are_found(name):
    torch.manual_seed(1)
    model = LIBRARIES[name]()
    table = sw.convert(model, torch.randn(2, 3, 32, 32)).sites
    assert all(site.calls == 1 for site in table)
    plain = train(copy.deepcopy(model), library_loss, steps=2)
    with sw.Monitor(copy.deepcopy(model), every=1) as monitor:
        library_loss(monitor.model).backward()
    assert monitor.notes == ()
    sites = [(site.site, site.activation, site.units) for site in monitor.samples[0].sites]
    assert sites == [(site.name, site.kind, site.shape[site.channel_dim]) for site in table]
    assert train(model, library_loss, 1, steps=2) == plain
