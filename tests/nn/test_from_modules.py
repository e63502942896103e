"""Fusing a pair and taking it apart again: the same tensors, the same function, and clear refusals."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import slopewise as sw

ACTIVATIONS = {
    "relu": lambda c: nn.ReLU(inplace=True),
    "leaky": lambda c: nn.LeakyReLU(0.01),
    "identity": lambda c: nn.Identity(),
    "shared": lambda c: nn.PReLU(),
    "per_channel": lambda c: nn.PReLU(c, init=0.1),
    "ours": lambda c: sw.PReLU(c, init=torch.linspace(0.1, 0.9, c), bounds=(0.0, 1.0)),
    "ours_shared_elsewhere": lambda c: sw.PReLU(1, channel_dim=-1),
}
BATCH_NORMS = [
    (sw.BatchNormPReLU1d, nn.BatchNorm1d, (6, 4)),
    (sw.BatchNormPReLU2d, nn.BatchNorm2d, (6, 4, 3, 3)),
    (sw.BatchNormPReLU3d, nn.BatchNorm3d, (6, 4, 2, 2, 2)),
]


def tensors(*modules):
    return [t for module in modules for t in (*module.parameters(), *module.buffers())]


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize(("fused", "stock", "shape"), BATCH_NORMS)
def test_the_layer_computes_what_the_pair_computes_with_its_tensors(fused, stock, shape, name):
    torch.manual_seed(0)
    bn, act = stock(4, eps=1e-3, momentum=0.3).double(), ACTIVATIONS[name](4).double()
    nn.init.normal_(bn.weight)
    x = torch.randn(shape, dtype=torch.float64)
    expected = act(bn(x))
    grads = torch.autograd.grad(expected.square().sum(), [*bn.parameters(), *act.parameters()])
    mean = bn.running_mean.clone()
    bn.reset_running_stats()
    layer = fused.from_modules(bn, act)
    y = layer(x)
    torch.testing.assert_close(y, expected)
    ours = torch.autograd.grad(y.square().sum(), [layer.weight, layer.bias, *[layer.slope] * layer.learnable])
    for mine, theirs in zip(ours, grads, strict=True):
        torch.testing.assert_close(mine, theirs)
    torch.testing.assert_close(bn.running_mean, mean)  # the buffer is shared, too
    assert set(map(id, tensors(bn, act))) <= set(map(id, tensors(layer)))
    assert layer.learnable == bool(list(act.parameters()))


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize(("fused", "stock", "shape"), BATCH_NORMS)
def test_unfuse_gives_the_pair_back_and_fuses_again(fused, stock, shape, name):
    bn, act = stock(4, momentum=None), ACTIVATIONS[name](4)
    layer = fused.from_modules(bn, act)
    pair = layer.unfuse()
    assert isinstance(pair, nn.Sequential)
    assert type(pair[0]) is stock
    assert repr(pair[0]) == repr(bn)
    learned = isinstance(act, nn.PReLU)
    assert type(pair[1]) is (sw.PReLU if learned else type(act))
    again = fused.from_modules(*pair)
    assert repr(again) == repr(layer)
    assert set(map(id, layer.parameters())) == set(map(id, pair.parameters())) == set(map(id, again.parameters()))
    x = torch.randn(shape)
    residual = torch.randn(shape)
    for inputs in ((x,), (x, residual)):  # the pair takes a residual, so that it fits where the layer was
        torch.testing.assert_close(again.eval()(*inputs), pair.eval()(*inputs))
    torch.testing.assert_close(pair(x, residual), pair[1](pair[0](x) + residual))
    if name == "leaky":
        assert pair[1].negative_slope == 0.01  # and not what float32 makes of it
    if name == "ours":
        assert pair[1].bounds == (0.0, 1.0)
        assert pair[1].init == act.init


@given(
    affine=st.booleans(),
    tracked=st.booleans(),
    training=st.booleans(),
    frozen=st.booleans(),
    dtype=st.sampled_from([torch.float32, torch.bfloat16, torch.float64]),
    device=st.sampled_from(["cpu", "meta"]),
)
def test_settings_survive_both_ways(affine, tracked, training, frozen, dtype, device):
    bn = nn.BatchNorm2d(3, 1e-2, None, affine, tracked, device, dtype).train(training)
    act = nn.PReLU(3, 0.5, device, dtype)
    if frozen:
        bn.requires_grad_(requires_grad=False)
        act.requires_grad_(requires_grad=False)
    layer = sw.BatchNormPReLU2d.from_modules(bn, act, low_memory=True)
    assert layer.low_memory
    for module in (layer, layer.unfuse()[0]):
        assert module.training == training
        assert (module.eps, module.momentum) == (1e-2, None)
        assert (module.affine, module.track_running_stats) == (affine, tracked)
        for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
            assert getattr(module, name) is getattr(bn, name)
    assert layer.slope is act.weight
    assert layer.slope.requires_grad == (not frozen)
    fixed = sw.BatchNormPReLU2d.from_modules(bn, nn.LeakyReLU(0.2)).slope
    if affine or tracked:
        assert (fixed.device.type, fixed.dtype) == (device, dtype)


def test_an_optimizer_of_the_pair_trains_the_layer():
    torch.manual_seed(0)
    bn, act = nn.BatchNorm2d(3), nn.PReLU(3)
    optimizer = torch.optim.SGD([*bn.parameters(), *act.parameters()], lr=0.1)
    layer = sw.BatchNormPReLU2d.from_modules(bn, act)
    layer(torch.randn(4, 3, 5, 5)).square().mean().backward()
    optimizer.step()
    assert (layer.slope != 0.25).all()
    assert (layer.weight != 1).all()


@pytest.mark.parametrize(
    ("init", "kind"), [(0.0, nn.ReLU), (1.0, nn.Identity), (0.3, nn.LeakyReLU), ([0.0, 0.5, 1.0], sw.PReLU)]
)
def test_fixed_slopes_unfuse_to_the_plainest_activation(init, kind):
    layer = sw.BatchNormPReLU2d(3, init=init, learnable=False).eval()
    act = layer.unfuse()[1]
    assert type(act) is kind
    assert not [p for p in act.parameters() if p.requires_grad]
    x = torch.randn(4, 3, 5, 5)
    torch.testing.assert_close(layer.unfuse()(x), layer(x))
    if kind is nn.LeakyReLU:
        assert act.negative_slope == 0.3
        with torch.no_grad():
            layer.slope.fill_(0.5)  # as a checkpoint would
        assert layer.unfuse()[1].negative_slope == 0.5


def test_a_parametrised_layer_is_not_taken_apart_wrongly():
    layer = sw.BatchNormPReLU2d(3)
    nn.utils.parametrize.register_parametrization(layer, "slope", nn.Softplus())
    with pytest.raises(TypeError, match="as parameter 'weight'"):
        layer.unfuse()


class OtherReLU(nn.ReLU):
    """A subclass that may compute anything."""


@pytest.mark.parametrize(
    ("bn", "act", "words"),
    [
        (nn.BatchNorm2d(3), nn.ReLU6(), "act must be a ReLU, LeakyReLU, PReLU or Identity, got ReLU6"),
        (nn.BatchNorm2d(3), nn.GELU(), "got GELU: leave this pair unfused"),
        (nn.BatchNorm2d(3), OtherReLU(), "got OtherReLU"),
        (nn.SyncBatchNorm(3), nn.ReLU(), "got SyncBatchNorm, which shares its statistics between processes"),
        (nn.BatchNorm1d(3), nn.ReLU(), r"bn must be a torch\.nn\.BatchNorm2d, got BatchNorm1d"),
        (nn.LazyBatchNorm2d(), nn.ReLU(), "got LazyBatchNorm2d"),
        (nn.InstanceNorm2d(3), nn.ReLU(), "got InstanceNorm2d"),
        (sw.BatchNormPReLU2d(3), nn.ReLU(), "got BatchNormPReLU2d"),
    ],
)
def test_modules_of_other_types_are_refused_by_name(bn, act, words):
    with pytest.raises(TypeError, match=words):
        sw.BatchNormPReLU2d.from_modules(bn, act)


@pytest.mark.parametrize(
    ("bn", "act", "words"),
    [
        (nn.BatchNorm2d(3), nn.PReLU(4), "act has 4 slopes and bn 3 channels: pass a PReLU with 1 or 3 slopes"),
        (nn.BatchNorm2d(3), sw.PReLU(3, channel_dim=-1), "act has its channels in dimension -1"),
    ],
)
def test_modules_that_do_not_fit_are_refused_with_the_reason(bn, act, words):
    with pytest.raises(ValueError, match=words):
        sw.BatchNormPReLU2d.from_modules(bn, act)


@pytest.mark.parametrize("kind", ["forward_pre_hook", "forward_hook", "full_backward_pre_hook", "full_backward_hook"])
@pytest.mark.parametrize("name", ["bn", "act"])
def test_modules_with_hooks_are_refused(name, kind):
    pair = {"bn": nn.BatchNorm2d(3), "act": nn.ReLU()}
    getattr(pair[name], f"register_{kind}")(lambda *_: None)
    with pytest.raises(ValueError, match=f"{name} has hooks, which the fused layer would not call: remove them first"):
        sw.BatchNormPReLU2d.from_modules(**pair)
