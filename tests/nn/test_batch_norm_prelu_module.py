"""The fused layers as modules: state_dict, copies, bounds, and what torch's own tools do to a BatchNorm."""

import copy
import inspect
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.swa_utils import AveragedModel, update_bn

import slopewise as sw

LAYERS = [
    (sw.BatchNormPReLU1d, nn.BatchNorm1d, (8, 3, 5)),
    (sw.BatchNormPReLU2d, nn.BatchNorm2d, (8, 3, 4, 4)),
    (sw.BatchNormPReLU3d, nn.BatchNorm3d, (4, 3, 2, 4, 4)),
]
BATCH_NORM_KEYS = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]


def trained(layer, shape=(8, 3, 4, 4), steps=2):
    """The layer after a few steps, so that no value is at its default."""
    torch.manual_seed(0)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        layer(torch.randn(shape) + 1).square().mean().backward()
        optimizer.step()
    return layer


@pytest.mark.parametrize(("fused", "stock", "shape"), LAYERS)
def test_is_a_batch_norm_with_one_key_more(fused, stock, shape):
    layer = fused(3)
    assert isinstance(layer, stock)
    assert sorted(layer.state_dict()) == sorted([*BATCH_NORM_KEYS, "slope"])
    assert layer.slope.tolist() == [0.25] * 3
    assert {name for name, _ in layer.named_parameters()} == {"weight", "bias", "slope"}
    for name in ("num_features", "eps", "momentum", "affine", "track_running_stats"):
        assert getattr(layer, name) == getattr(stock(3), name)


@pytest.mark.parametrize(("fused", "stock", "shape"), LAYERS)
def test_state_dicts_go_both_ways_and_a_missing_slope_is_named(fused, stock, shape):
    bn, layer = trained(stock(3), shape), fused(3, init=[0.1, 0.2, 0.3])
    with pytest.raises(RuntimeError, match=r'Missing key.*"slope"'):
        layer.load_state_dict(bn.state_dict(), strict=True)
    missing, unexpected = layer.load_state_dict(bn.state_dict(), strict=False)
    assert (missing, unexpected) == (["slope"], [])
    assert torch.equal(layer.slope, torch.tensor([0.1, 0.2, 0.3]))
    x = torch.randn(shape)
    torch.testing.assert_close(layer.eval()(x), F.prelu(bn.eval()(x), layer.slope))
    state = trained(layer.train(), shape).state_dict()
    other = fused(3)
    other.load_state_dict(state, strict=True)
    assert torch.equal(other.eval()(x), layer.eval()(x))
    missing, unexpected = bn.load_state_dict(state, strict=False)
    assert (missing, unexpected) == ([], ["slope"])
    torch.testing.assert_close(F.prelu(bn(x), layer.slope), layer(x))


def test_a_fixed_slope_is_a_buffer():
    layer = sw.BatchNormPReLU2d(3, init=[0.0, 0.5, 1.0], learnable=False)
    assert {name for name, _ in layer.named_parameters()} == {"weight", "bias"}
    assert sorted(layer.state_dict()) == sorted([*BATCH_NORM_KEYS, "slope"])
    x = torch.randn(4, 3, 5, 5)
    trained(layer)
    assert layer.slope.tolist() == [0.0, 0.5, 1.0]
    torch.testing.assert_close(layer.eval()(x), F.prelu(layer.pre_activation(x), torch.tensor([0.0, 0.5, 1.0])))
    learned = sw.BatchNormPReLU2d(3)
    learned.load_state_dict(layer.state_dict(), strict=True)
    assert torch.equal(learned.eval()(x), layer(x))
    assert layer.to(torch.float64).slope.dtype == torch.float64


def test_arguments_and_initial_values():
    layer = sw.BatchNormPReLU2d(
        4, 1e-3, None, *(False, False), "cpu", torch.float64, num_parameters=1, init=0.1
    )  # BatchNorm's own order
    assert (layer.eps, layer.momentum, layer.affine, layer.track_running_stats) == (1e-3, None, False, False)
    assert list(layer.state_dict()) == ["slope"]
    assert layer.slope.dtype == torch.float64
    assert layer.slope.tolist() == [0.1]
    assert sw.BatchNormPReLU1d(2, init=torch.tensor([0.5, 0.75])).slope.tolist() == [0.5, 0.75]


def test_repr_shows_the_slopes_and_what_differs():
    plain = repr(nn.BatchNorm2d(3))[len("BatchNorm2d(") : -1]
    assert repr(sw.BatchNormPReLU2d(3)) == f"BatchNormPReLU2d({plain}, num_parameters=3)"
    other = sw.BatchNormPReLU2d(3, num_parameters=1, init=0.0, learnable=False, bounds=(0, 1), low_memory=True)
    ends = ", num_parameters=1, init=0.0, learnable=False, bounds=(0.0, 1.0), low_memory=True)"
    assert repr(other) == f"BatchNormPReLU2d({plain}{ends}"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"num_parameters": 2}, "num_parameters=2 does not fit num_features=3: pass 1 for a shared slope"),
        ({"num_parameters": 0}, "num_parameters=0 does not fit"),
        ({"init": [0.1, 0.2]}, "init has 2 values for num_parameters=3"),
        ({"bounds": (1.0, 0.0)}, "lowest < highest"),
        ({"bounds": (0.5, 1.0)}, r"init 0.25 lies outside bounds=\(0.5, 1.0\)"),
    ],
)
def test_bad_arguments_are_named(arguments, words):
    with pytest.raises(ValueError, match=words):
        sw.BatchNormPReLU2d(3, **arguments)


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))])
@pytest.mark.parametrize("learnable", [True, False])
def test_copies_are_whole_and_separate(clone, learnable):
    layer = trained(sw.BatchNormPReLU2d(3, init=(0.1, 0.2, 0.3), bounds=(0, 1), low_memory=True, learnable=learnable))
    other, x = clone(layer), torch.randn(4, 3, 5, 5)
    assert repr(other) == repr(layer)
    assert torch.equal(other.eval()(x), layer.eval()(x))
    before = layer.slope.detach().clone()
    trained(other.train())
    assert torch.equal(layer.slope, before)
    other.reset_parameters()
    assert other.slope.tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert other.running_mean.tolist() == [0, 0, 0]
    assert other.num_batches_tracked == 0


def test_meta_device_then_materialised():
    layer = sw.BatchNormPReLU2d(3, init=(0.1, 0.2, 0.3), device="meta")
    assert layer(torch.empty(2, 3, 4, 4, device="meta")).shape == (2, 3, 4, 4)
    layer.to_empty(device="cpu").reset_parameters()
    x = torch.randn(2, 3, 4, 4)
    assert torch.equal(layer(x), sw.BatchNormPReLU2d(3, init=(0.1, 0.2, 0.3))(x))
    assert nn.utils.skip_init(sw.BatchNormPReLU2d, 3).slope.shape == (3,)


def test_moves_between_dtypes():
    layer = sw.BatchNormPReLU2d(3, bounds=(0, 1)).bfloat16()
    x = torch.randn(4, 3, 8, 8)
    y = layer(x.bfloat16())
    assert y.dtype == layer.slope.dtype == layer.running_var.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), sw.BatchNormPReLU2d(3)(x), rtol=0.05, atol=0.05)


def test_bounds_are_kept_by_projection():
    layer = sw.BatchNormPReLU2d(3, bounds=(0.0, 0.5))
    x, strayed, inside = torch.randn(4, 3, 5, 5), torch.tensor([-2.0, 0.3, 2.0]), torch.tensor([0.0, 0.3, 0.5])

    def stray():
        with torch.no_grad():
            layer.slope.copy_(strayed)

    stray()
    torch.testing.assert_close(layer.eval()(x), F.prelu(layer.pre_activation(x), inside))
    assert torch.equal(layer.slope, strayed)
    reference, slopes = layer.train().pre_activation(x).detach(), inside.clone().requires_grad_()
    layer(x).square().sum().backward()
    F.prelu(reference, slopes).square().sum().backward()
    torch.testing.assert_close(layer.slope.grad, slopes.grad)
    assert torch.equal(layer.slope, inside)
    stray()
    assert torch.equal(layer.state_dict()["slope"], inside)
    stray()
    layer.project_()
    assert torch.equal(layer.slope, inside)


@pytest.mark.skipif(sw.ops.backend().name != "kernels", reason="without kernels the input is always kept")
@pytest.mark.parametrize(("bias", "kept"), [(0.1, "output"), (1e3, "input")])
@pytest.mark.parametrize("layer", [sw.BatchNormPReLU2d(8, low_memory=True), sw.PReLU(8, low_memory=True)])
def test_low_memory_keeps_the_output_where_that_is_safe(layer, bias, kept):
    plain = isinstance(layer, sw.PReLU)
    nn.init.constant_(layer.weight if plain else layer.bias, 1e-4 if plain and kept == "input" else bias)
    x, saved = torch.randn(8, 8, 16, 16, requires_grad=True), []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t.data_ptr()) or t, lambda t: t):
        y = layer(x)
    assert (y.data_ptr() in saved) == (kept == "output")
    assert (x.data_ptr() in saved) == (kept == "input")


def test_conversion_to_sync_batch_norm_refuses_to_lose_the_slopes():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), sw.BatchNormPReLU2d(4))
    with pytest.raises(RuntimeError, match=r"its slopes would be lost: put layer\.unfuse\(\)"):
        nn.SyncBatchNorm.convert_sync_batchnorm(model)
    assert isinstance(model[1], sw.BatchNormPReLU2d)
    with pytest.raises(RuntimeError, match="BatchNormPReLU2d can be neither converted"):
        nn.SyncBatchNorm.convert_sync_batchnorm(sw.ConvBNPReLU(3, 4))
    block = sw.ConvBNPReLU(3, 4).eval()
    x, residual = torch.randn(2, 3, 5, 5), torch.randn(2, 4, 5, 5)
    expected = block(x), block(x, residual)
    for name, layer in list(block.named_modules()):
        if isinstance(layer, sw.BatchNormPReLU2d):
            block.set_submodule(name, layer.unfuse())
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(block)
    assert isinstance(converted.bn[0], nn.SyncBatchNorm)
    assert isinstance(converted.bn[1], sw.PReLU)
    torch.testing.assert_close((converted(x), converted(x, residual)), expected)


def test_looking_at_every_attribute_is_harmless():
    layer = sw.BatchNormPReLU2d(3)
    assert dict(inspect.getmembers(layer))["num_parameters"] == 3


class Net(nn.Module):
    """Two normalisations and a residual; fused, or the same in torch's layers."""

    def __init__(self, fused):
        super().__init__()
        torch.manual_seed(0)
        self.conv1, self.conv2 = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.fused = fused
        self.bn1, self.bn2 = (sw.BatchNormPReLU2d(4) if fused else nn.BatchNorm2d(4) for _ in range(2))
        self.act1, self.act2 = nn.PReLU(4), nn.PReLU(4)

    def forward(self, x):
        if self.fused:
            h = self.bn1(self.conv1(x))
            return self.bn2(self.conv2(h), h)
        h = self.act1(self.bn1(self.conv1(x)))
        return self.act2(self.bn2(self.conv2(h)) + h)


def test_stochastic_weight_averaging_updates_the_statistics_as_torchs():
    torch.manual_seed(1)
    loader = [torch.randn(4 + k, 3, 6, 6) for k in range(3)]
    averaged = []
    for fused in (True, False):
        model = AveragedModel(Net(fused))
        model.update_parameters(Net(fused))
        update_bn(loader, model)
        averaged.append(model.eval())
    ours, theirs = averaged
    for name, buffer in theirs.named_buffers():
        torch.testing.assert_close(ours.get_buffer(name), buffer)
    assert ours.module.bn1.num_batches_tracked == 3
    assert ours.module.bn1.momentum == 0.1
    torch.testing.assert_close(ours(loader[0]), theirs(loader[0]))


def test_a_loop_that_freezes_batch_norms_freezes_these():
    model = Net(fused=True)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval().requires_grad_(requires_grad=False)
    before = copy.deepcopy(model.state_dict())
    trained(model, (4, 3, 6, 6))
    after = model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before if "bn" in name)
    assert not torch.equal(before["conv1.weight"], after["conv1.weight"])
