"""Activations that some modes of running a network bypass, or compute in another way."""

from __future__ import annotations

import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import slopewise as sw
from slopewise.convert import ConversionWarning

X = torch.randn(3, 5, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


class Block(nn.Module):
    """A feed-forward block with a kernel of its own for some cases; the kernel shows no activation."""

    def __init__(self):
        super().__init__()
        self.up, self.act, self.down = nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, 8)
        self.dropout = nn.Dropout(0.0)

    def fused(self, x):
        h = torch._addmm_activation(self.up.bias, x.flatten(0, 1), self.up.weight.t())
        return self.down(h).view(x.shape)

    def takes_kernel(self, x):
        raise NotImplementedError

    def forward(self, x):
        return self.fused(x) if self.takes_kernel(x) else self.down(self.dropout(self.act(self.up(x))))


class WithoutGradients(Block):
    def takes_kernel(self, x):
        return not torch.is_grad_enabled()


class WithoutGradientsInEvaluation(Block):
    def takes_kernel(self, x):
        return not (self.training or torch.is_grad_enabled())


class InInference(Block):
    def takes_kernel(self, x):
        return torch.is_inference_mode_enabled()


class InEvaluation(Block):
    def __init__(self):
        super().__init__()
        self.dropout = nn.Dropout(0.5)

    def takes_kernel(self, x):
        return not self.training


class UnderAutocast(Block):
    def takes_kernel(self, x):
        return torch.is_autocast_enabled("cpu")


class NotWatched(Block):
    """As PyTorch's own do, the kernel stands back where a mode or a subclass would have to see functions."""

    def takes_kernel(self, x):
        return not (torch.is_grad_enabled() or torch.overrides.has_torch_function((x,)))


class NotHooked(Block):
    """As PyTorch's own do, the kernel stands back where hooks would have to be called."""

    def takes_kernel(self, x):
        return not self.training and not any(part._forward_hooks for part in self.modules())


class Written(WithoutGradients):
    """The other way applies the activation by a function."""

    def fused(self, x):
        return self.down(F.relu(self.up(x)))


BYPASSED = [WithoutGradients, WithoutGradientsInEvaluation, InInference, InEvaluation, UnderAutocast, NotWatched]
BYPASSED += [NotHooked, Written]


class Net(nn.Module):
    def __init__(self, block):
        super().__init__()
        self.stem, self.act, self.block, self.head = nn.Linear(8, 8), nn.ReLU(), block(), nn.Linear(8, 2)

    def forward(self, x):
        return self.head(self.block(self.act(self.stem(x))))


def ways_of(model, x):
    """Return the outputs of a model in evaluation, in every way of running it."""
    model.eval()
    yield model(x).detach()
    with torch.no_grad():
        yield model(x)
    with torch.inference_mode():
        yield model(x).clone()


@pytest.mark.parametrize("block", BYPASSED)
@pytest.mark.parametrize("training", [True, False])
def test_an_activation_that_a_kernel_bypasses_stays_with_a_warning(block, training):
    net = Net(block).train(training)
    with pytest.warns(ConversionWarning, match="stay as they are"):
        conversion = sw.convert(net, X, init=0.7)
    assert [site.name for site in conversion.sites] == ["act"]
    assert "block.act" in [refusal.name for refusal in conversion.skipped]
    assert conversion.proof.slopes.relative < 1e-5
    first, *others = ways_of(conversion.model, X)
    for other in others:
        torch.testing.assert_close(other, first, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("block", [NotWatched, NotHooked])
def test_only_the_bypassed_ones_stay(block):
    with pytest.warns(ConversionWarning):
        conversion = (
            sw.convert(nn.Sequential(Net(block), nn.ReLU(), Net(block), Net(block)), X[..., :8].expand(3, 5, 8))
            if False
            else sw.convert(Deep(block), X)
        )
    assert [site.name for site in conversion.sites] == ["acts.0", "acts.1", "acts.2"]
    assert len(conversion.skipped) == 2


class Deep(nn.Module):
    def __init__(self, block):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(8, 8) for _ in range(3))
        self.acts = nn.ModuleList(nn.ReLU() for _ in range(3))
        self.blocks = nn.ModuleList(block() for _ in range(2))

    def forward(self, x):
        for layer, act in zip(self.layers, self.acts, strict=True):
            x = act(layer(x))
        return self.blocks[1](x) + self.blocks[0](x)


class Auxiliary(nn.Module):
    """A second head that only training, or only a pass with gradients, uses: no bypass."""

    def __init__(self, needs):
        super().__init__()
        self.body, self.act, self.needs = nn.Linear(8, 8), nn.ReLU(), needs
        self.head, self.aux = nn.Linear(8, 2), nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 2))

    def forward(self, x):
        h = self.act(self.body(x))
        auxiliary = self.training if self.needs == "training" else torch.is_grad_enabled()
        return (self.head(h), self.aux(h)) if auxiliary else self.head(h)


@pytest.mark.parametrize("needs", ["training", "gradients"])
def test_a_part_that_only_some_passes_have_is_converted(needs):
    conversion = sw.convert(Auxiliary(needs), X)
    assert [site.name for site in conversion.sites] == ["act", "aux.1"]
    assert not conversion.skipped
    assert conversion.proof.slopes.relative < 1e-5


class Padded(nn.Module):
    def __init__(self, **settings):
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True, **settings)
        self.encoder = nn.TransformerEncoder(layer, 3)

    def forward(self, x, padding):
        return self.encoder(x, src_key_padding_mask=padding)[~padding]


@pytest.mark.parametrize("skip", [None, "encoder.layers.0"])
@pytest.mark.parametrize("activation", ["relu", nn.GELU()])
def test_padded_batches_of_a_transformer_encoder(skip, activation):
    padding = torch.arange(5) >= torch.tensor([[5], [3], [2]])
    conversion = sw.convert(Padded(activation=activation), (X, padding), init=0.6, skip=skip)
    assert conversion.proof.slopes.relative < 1e-5
    model = conversion.model.eval()
    expected = model(X, padding)
    with torch.inference_mode():
        torch.testing.assert_close(model(X, padding), expected, rtol=1e-4, atol=1e-5)


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn, self.act = nn.RNN(8, 6, nonlinearity="relu", batch_first=True), nn.ReLU()

    def forward(self, x):
        return self.act(self.rnn(x)[0])


def test_an_activation_within_a_kernel_is_listed():
    with pytest.warns(ConversionWarning, match="rnn"):
        conversion = sw.convert(Recurrent(), X)
    assert [(left.name, left.kind) for left in conversion.skipped] == [("rnn", "relu")]
    assert "within one kernel" in str(conversion)


class Scales(nn.Module):
    """One activation for two widths, at a place that is passed twice, in a pass that torch.fx cannot follow."""

    def __init__(self):
        super().__init__()
        self.convs, self.act = nn.ModuleList([nn.Linear(8, 4), nn.Linear(8, 6)]), nn.ReLU()

    def forward(self, x):
        sums = [torch.zeros(1)] * 2
        for number, conv in enumerate(self.convs):
            sums[number] = self.act(conv(x)).sum((1, 2)) if x.sum() < 1e9 else x.sum((1, 2))
        return torch.stack(sums)


def test_advice_leads_to_a_conversion():
    for arguments in ({}, {"call_sites": "shared"}):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConversionWarning)
            with pytest.raises(sw.errors.ConversionError, match="to='prelu_shared' with call_sites='shared'"):
                sw.convert(Scales(), X, **arguments)
    assert len(sw.convert(Scales(), X, to="prelu_shared", call_sites="shared").sites) == 1


def test_a_frozen_layer_takes_no_kernel_with_gradients_on():
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True, activation=F.relu)
    model = sw.convert(layer.requires_grad_(requires_grad=False), X, init=0.6).model
    torch.testing.assert_close(model.eval()(X), model.train()(X), rtol=1e-4, atol=1e-5)


def test_a_wrong_rewriting_is_detected(monkeypatch):
    """A rewriting that agrees at slope 0 and at no other slope."""
    from slopewise.convert import _convert

    def spoil(model, names):
        model.register_forward_hook(lambda module, args, output: output.relu())

    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(8, 8), nn.Linear(8, 8)
            self.acts = nn.ModuleList([nn.ReLU(), nn.ReLU()])

        def forward(self, x):
            return self.acts[1](self.b(self.acts[0](self.a(x))))

    monkeypatch.setattr(_convert, "close_fast_paths_", spoil)
    with pytest.warns(ConversionWarning, match="in another way"):
        conversion = sw.convert(Two(), X)
    assert [site.name for site in conversion.sites] == ["acts.0"]


def test_sites_that_the_oracle_cannot_place_do_not_spoil_the_others():
    """Several functions write one activation out; the other sites are compared with it unchanged."""

    class Swish(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.act = nn.Linear(8, 8), nn.Linear(8, 8), nn.ReLU()

        def forward(self, x):
            x = self.a(x)
            return self.act(self.b(x * torch.sigmoid(x)))

    conversion = sw.convert(Swish(), X)
    assert [site.kind for site in conversion.sites] == ["silu", "relu"]
    assert conversion.proof.slopes.relative < 1e-5


def test_passes_that_differ_are_no_evidence():
    class Counts(nn.Module):
        calls = 0

        def __init__(self):
            super().__init__()
            self.a, self.act = nn.Linear(8, 8), nn.ReLU()

        def forward(self, x):
            Counts.calls += 1
            return self.act(self.a(x)) + Counts.calls

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConversionWarning)
        conversion = sw.convert(Counts(), X)
    assert conversion.proof.slopes is None
    assert "nothing could be compared" in str(conversion)
