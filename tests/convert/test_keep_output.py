"""Fused layers that keep their outputs for the backward pass: by default, and where the network allows it."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import slopewise as sw

X = torch.randn(8, 3, 16, 16, generator=torch.Generator().manual_seed(0))
NOTE = "keeps its input for the backward pass, since its output is changed in place"


@pytest.fixture(params=[True, False], ids=["kernels", "no kernels"], autouse=True)
def kernels(request):
    if request.param and sw.ops.backend().name != "kernels":
        pytest.skip("no kernels")
    with sw.ops.use_kernels(enabled=request.param):
        yield


class Block(nn.Module):
    """Two normalised activations, between which the network does something."""

    def __init__(self, between, act=nn.LeakyReLU):
        super().__init__()
        torch.manual_seed(0)
        self.conv1, self.bn1, self.act1 = nn.Conv2d(3, 5, 3, padding=1), nn.BatchNorm2d(5), act()
        self.conv2, self.bn2, self.act2 = nn.Conv2d(5, 5, 3, padding=1), nn.BatchNorm2d(5), act()
        self.between = between

    def forward(self, x):
        return self.act2(self.bn2(self.conv2(self.between(self.act1(self.bn1(self.conv1(x)))))))


def settings(model):
    return [module.low_memory for module in model.modules() if isinstance(module, sw.BatchNormPReLU2d)]


def gradients(model):
    torch.manual_seed(0)  # of dropout
    loss = F.mse_loss(model(X), torch.ones(()).expand(8, 5, 16, 16))
    return torch.autograd.grad(loss, list(model.parameters()))


def squeeze_and_excite_(y):
    y *= y.mean((2, 3), keepdim=True).sigmoid()
    return y


@pytest.mark.parametrize(
    "change",
    [
        lambda y: y.add_(1.0),
        lambda y: y.mul_(torch.full((1, 5, 1, 1), 2.0)),
        nn.Dropout(0.5, inplace=True),
        nn.Hardtanh(inplace=True),
        squeeze_and_excite_,
        lambda y: (y[:, :2].zero_(), y)[1],
        lambda y: (y.view(8, -1).clamp_(max=2.0), y)[1],  # through a view
    ],
)
def test_a_layer_whose_output_is_changed_in_place_keeps_its_input(change):
    conversion = sw.convert(Block(change), X, fuse=True, only="act*")
    assert settings(conversion.model) == [False, None]
    assert [NOTE in site.notes for site in conversion.sites] == [True, False]
    assert NOTE in str(conversion)
    models = conversion.model, sw.convert(Block(change), X, only="act*").model
    ours, theirs = (gradients(model.train()) for model in models)
    assert len(ours) == len(theirs)
    for one, other in zip(ours[:2], theirs[:2], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    "use",
    [
        lambda y: y + 1.0,
        lambda y: torch.cat([y[:, :2], F.relu(y[:, 2:])], 1),
        nn.Dropout(0.5),
        lambda y: F.max_pool2d(y, 3, 1, 1),
        lambda y: y.clone().add_(1.0),
    ],
)
@pytest.mark.parametrize("act", [nn.ReLU, lambda: nn.ReLU(inplace=True), nn.LeakyReLU])
def test_one_that_is_only_read_keeps_its_output(use, act):
    conversion = sw.convert(Block(use, act), X, fuse=True, only="act*")
    assert settings(conversion.model) == [None, None]
    gradients(conversion.model.train())


@pytest.mark.parametrize(
    ("low_memory", "fused", "alone"), [(None, None, False), (True, True, True), (False, False, False)]
)
def test_the_setting(low_memory, fused, alone):
    net = nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.ReLU(), nn.Conv2d(5, 5, 3), nn.ReLU())
    model = sw.convert(net, X, fuse=True, low_memory=low_memory).model
    assert (model[1].low_memory, model[4].low_memory) == (fused, alone)
    assert sw.convert(net, X, low_memory=low_memory).model[4].low_memory is alone


def test_a_prelu_alone_whose_output_is_changed_keeps_its_input():
    class Alone(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.act = nn.Conv2d(3, 5, 3, padding=1), nn.PReLU()

        def forward(self, x):
            return self.act(self.conv(x)).add_(1.0)

    conversion = sw.convert(Alone(), X, low_memory=True)
    assert not conversion.model.act.low_memory
    gradients(conversion.model)


def test_a_gradient_penalty_works_as_before():
    def penalties(**options):
        model = sw.convert(Block(nn.Identity()).double(), X.double(), fuse=True, **options).model.train()
        x = X.double().requires_grad_()
        (first,) = torch.autograd.grad((model(x) ** 2).mean(), x, create_graph=True)
        return torch.autograd.grad(first.norm(), list(model.parameters()), allow_unused=True)

    for one, other in zip(penalties(), penalties(low_memory=False), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


def test_checkpoints_within_the_network_give_the_same_gradients():
    from torch.utils.checkpoint import checkpoint

    model = sw.convert(Block(nn.Identity()), X, fuse=True).model.train()
    plain = gradients(model)
    assert all(map(torch.equal, plain, gradients(lambda_model(model, checkpoint))))
    with torch.autograd.graph.save_on_cpu():
        assert all(map(torch.equal, plain, gradients(model)))


def lambda_model(model, checkpoint):
    class Checkpointed(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = model

        def forward(self, x):
            return checkpoint(self.inner, x, use_reentrant=False)

    return Checkpointed()
