"""Checkpoints of the original model, there and back: the original itself is the reference."""

import copy

import pytest
import torch
from torch import nn

import slopewise as sw
from slopewise.errors import ConversionWarning

X = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """BatchNorm and PReLU of several kinds: per channel, shared, and one module at two places."""

    def __init__(self, last=nn.PReLU, tied=False):
        super().__init__()
        self.conv1, self.bn1, self.act1 = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.PReLU(4)
        self.conv2, self.bn2, self.act2 = nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4), nn.PReLU()
        self.conv3, self.last = nn.Conv2d(4, 6, 3), self.act2 if tied else last()

    def forward(self, x):
        x = self.act2(self.bn2(self.conv2(self.act1(self.bn1(self.conv1(x))))))
        return self.last(self.conv3(x)).mean((2, 3))


def build(**how):
    torch.manual_seed(1)
    return Net(**how)


def train_(model, *, shared=()):
    """Move all weights, statistics and slopes; the slopes of the layers in `shared` stay equal over their channels."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            size = tensor.shape if not name.startswith(tuple(shared)) else (1,)
            tensor.copy_(torch.rand(size, generator=generator) * 0.5 + 0.1)
    model.train()(X)


@pytest.mark.parametrize("to", ["prelu_channel", "prelu_shared"])
@pytest.mark.parametrize("fuse", [False, True])
def test_trained_weights_go_back_to_the_original(fuse, to):
    shared = {"prelu_channel": ("act2", "bn2", "last"), "prelu_shared": ()}[to]
    conversion = sw.convert(build(), X, fuse=fuse, to=to)
    train_(conversion.model, shared=shared)
    state = conversion.original_state_dict()
    original = Net()
    assert list(state) == list(original.state_dict())
    original.load_state_dict(state)  # strict: every name and shape
    torch.testing.assert_close(original.eval()(X), conversion.model.eval()(X), rtol=1e-5, atol=1e-6)
    again = sw.convert(build(), X, fuse=fuse, to=to)
    again.load_state_dict(state)
    for name, tensor in again.model.state_dict().items():
        assert torch.equal(tensor, conversion.model.state_dict()[name]), name
    assert state._metadata == original.state_dict()._metadata


def test_before_training_it_is_the_checkpoint_itself():
    net = build()
    state = sw.convert(net, X, fuse=True).original_state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in net.state_dict().items())
    assert torch.equal(state["act1.weight"], torch.full((4,), 0.25))


def test_slopes_that_the_original_lacks_are_named():
    conversion = sw.convert(build(last=nn.ReLU), X, fuse=True, init=0.0)
    conversion.original_state_dict()  # slopes of 0 are the ReLU itself
    train_(conversion.model, shared=("bn2",))
    with pytest.raises(RuntimeError, match=r"cannot hold slopes of last \(relu\): keep"):
        conversion.original_state_dict()
    Net(last=nn.ReLU).load_state_dict(conversion.original_state_dict(strict=False))


def test_slopes_that_were_one_are_named_and_averaged():
    conversion = sw.convert(build(tied=True), X)
    net = Net(tied=True)
    net.load_state_dict(conversion.original_state_dict())  # as long as they are equal
    with torch.no_grad():
        conversion.model.act2.weight.fill_(0.25)
        conversion.model.get_submodule(conversion.sites[-1].name).weight.fill_(0.75)
    with pytest.raises(RuntimeError, match=r"cannot hold different slopes in act2\.weight, last\.weight"):
        conversion.original_state_dict()
    net.load_state_dict(conversion.original_state_dict(strict=False))
    assert net.act2.weight.item() == pytest.approx((4 * 0.25 + 6 * 0.75) / 10)


def test_other_activations_have_no_place_in_the_original():
    conversion = sw.convert(build(), X, to=lambda channels: nn.Sequential(nn.Conv2d(channels, channels, 1)))
    lacks = r"no values for keys that it lacks: act1\.weight, act2\.weight, last\.weight"
    with pytest.raises(
        RuntimeError, match=rf"{lacks}; the original model cannot hold slopes of act1 \(prelu\)"
    ) as caught:
        conversion.original_state_dict()
    assert "different" not in str(caught.value)
    with pytest.warns(ConversionWarning, match=rf"{lacks}; the state dict is without them"):
        state = conversion.original_state_dict(strict=False)
    assert build().state_dict().keys() - state.keys() == {"act1.weight", "act2.weight", "last.weight"}


def test_the_names_of_data_parallel_stay():
    parallel = nn.DataParallel(build())
    state = sw.convert(parallel, X).original_state_dict()
    assert list(state) == list(parallel.state_dict())
    assert set(parallel.state_dict()._metadata) - set(state._metadata) == {""}


@pytest.mark.parametrize("prefix", ["module.", "module._orig_mod.", "_orig_mod."])
def test_the_prefixes_of_wrappers_are_removed(prefix):
    trained = build()
    train_(trained)
    conversion = sw.convert(build(), X, fuse=True)
    conversion.load_state_dict({f"{prefix}{name}": tensor for name, tensor in trained.state_dict().items()})
    torch.testing.assert_close(conversion.model.eval()(X), trained.eval()(X), rtol=1e-5, atol=1e-6)


def test_another_prefix_is_named():
    state = {f"net.{name}": tensor for name, tensor in build().state_dict().items()} | {"loss.weight": torch.ones(1)}
    with pytest.raises(RuntimeError, match=r"Its names begin with 'net\.' where .*k\.removeprefix\('net\.'\)"):
        sw.convert(build(), X).load_state_dict(state)


def test_a_training_checkpoint_is_sent_to_its_reader():
    state = {"state_dict": build().state_dict(), "optimizer": {"state": {}}, "epoch": 3}
    with pytest.raises(
        RuntimeError, match=r"holds 'state_dict', 'optimizer': .* slopewise\.checkpoint\.load_state_dict"
    ):
        sw.convert(build(), X).load_state_dict(state)


@pytest.mark.parametrize("fuse", [False, True])
def test_adamw_takes_up_its_state_where_slopes_keep_their_shape(fuse):
    """Documented in docs/convert.md: parameters in the same order and shapes, in one group."""
    norm = nn.BatchNorm2d(4)
    net = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), norm, nn.PReLU(4), nn.Conv2d(4, 2, 3), nn.PReLU(2)).double()
    x = X.double()
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.1)
    net(x).square().sum().backward()
    optimizer.step()
    model = sw.convert(net, x, fuse=fuse).model
    again = torch.optim.AdamW(model.parameters(), lr=0.1)
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for own, other in ((net, optimizer), (model, again)):
        other.zero_grad()
        own(x).square().sum().backward()
        other.step()
    for own, other in zip(model.parameters(), net.parameters(), strict=True):
        torch.testing.assert_close(own, other)
    with pytest.raises(ValueError, match="different number of parameter groups"):
        torch.optim.AdamW(sw.param_groups(model, lr=0.1)).load_state_dict(optimizer.state_dict())
