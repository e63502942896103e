"""The layer as a module: torch.nn.PReLU's interface, its own arguments, and what other tools do to a module."""

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F

import slopewise as sw


def test_is_a_drop_in_torch_prelu():
    ours, theirs = sw.PReLU(3, 0.1, "cpu", torch.float64), torch.nn.PReLU(3, 0.1, "cpu", torch.float64)
    assert isinstance(ours, torch.nn.PReLU)
    assert (repr(ours), ours.num_parameters, ours.init) == (repr(theirs), theirs.num_parameters, theirs.init)
    assert torch.equal(ours.weight, theirs.weight)
    assert sw.PReLU().weight.tolist() == [0.25]
    assert sw.PReLU().weight.requires_grad


@pytest.mark.parametrize("ours", [{}, {"bounds": (-1.0, 2.0)}, {"channel_dim": -1}])
@pytest.mark.parametrize("slopes", [1, 3])
def test_state_dict_goes_both_ways(slopes, ours):
    torch.manual_seed(0)
    x = torch.randn(4, 3, 3)
    layer, plain = sw.PReLU(slopes, **ours), torch.nn.PReLU(slopes)
    assert list(layer.state_dict()) == list(plain.state_dict()) == ["weight"]
    with torch.no_grad():
        plain.weight.uniform_(-1, 2)
    layer.load_state_dict(plain.state_dict(), strict=True)
    assert torch.equal(layer.weight, plain.weight)
    back = torch.nn.PReLU(slopes)
    back.load_state_dict(layer.state_dict(), strict=True)
    assert torch.equal(back.weight, plain.weight)
    if layer.channel_dim == 1:
        assert torch.equal(layer(x), plain(x))


@pytest.mark.parametrize(
    "x", [torch.randn(4, 3), torch.randn(4, 3, 9), torch.randn(4, 3, 5, 5), torch.randn(2, 3, 4, 4, 4)]
)
def test_follows_linear_layers_and_convolutions(x):
    layer = sw.PReLU(3, init=[-0.5, 0.0, 1.5])
    assert torch.equal(layer(x), F.prelu(x, torch.tensor([-0.5, 0.0, 1.5])))


def test_channel_dim_reaches_the_function():
    tokens = torch.randn(2, 7, 5)
    layer = sw.PReLU(5, init=range(5), channel_dim=-1)
    assert torch.equal(layer(tokens), F.prelu(tokens.mT, torch.arange(5.0)).mT)
    with pytest.raises(ValueError, match="num_parameters=7"):
        layer(tokens.mT)


@pytest.mark.parametrize("init", [(0.1, 0.2, 0.3), [0.1, 0.2, 0.3], torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_init_per_channel_and_reset(init, dtype):
    expected = torch.tensor([0.1, 0.2, 0.3], dtype=dtype)
    layer = sw.PReLU(3, init, dtype=dtype)
    assert torch.equal(layer.weight, expected)
    with torch.no_grad():
        layer.weight.fill_(7)
    layer.reset_parameters()
    assert torch.equal(layer.weight, expected)


def test_init_of_one_number_and_reset():
    layer = sw.PReLU(2, torch.tensor(0.5))
    assert layer.init == 0.5
    with torch.no_grad():
        layer.weight.fill_(7)
    layer.reset_parameters()
    assert layer.weight.tolist() == [0.5, 0.5]


@pytest.mark.parametrize("init", [0.5, (0.1, 0.2)])
def test_meta_device_then_materialised(init):
    layer = sw.PReLU(2, init, device="meta", bounds=(0, 1))
    assert layer(torch.empty(4, 2, 8, device="meta")).shape == (4, 2, 8)
    layer.to_empty(device="cpu").reset_parameters()
    assert torch.equal(layer.weight, sw.PReLU(2, init).weight)
    with torch.device("meta"):
        assert sw.PReLU(2, init).weight.is_meta
    assert torch.nn.utils.skip_init(sw.PReLU, 2, init).weight.shape == (2,)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"num_parameters": 0}, "num_parameters must be 1 or the number of channels, got 0"),
        ({"num_parameters": 3, "init": [0.1, 0.2]}, "init has 2 values for num_parameters=3"),
        ({"num_parameters": 2, "init": (0.1,)}, "init has 1 values for num_parameters=2: pass one number or 2"),
        ({"init": []}, "init has 0 values for num_parameters=1"),
        ({"num_parameters": 2, "init": torch.zeros(1, 2)}, "flat sequence of num_parameters=2 numbers"),
        ({"init": None}, "init must be a number or .* got None"),
        ({"bounds": (1.0, 0.0)}, r"lowest < highest, got \(1.0, 0.0\)"),
        ({"bounds": (0.5, 0.5)}, r"lowest < highest"),
        ({"bounds": (0.0, float("nan"))}, r"lowest < highest"),
        ({"bounds": (0.0, 0.5, 1.0)}, r"bounds must be \(lowest, highest\)"),
        ({"bounds": (0.5, 1.0)}, r"init 0.25 lies outside bounds=\(0.5, 1.0\)"),
        ({"num_parameters": 2, "init": (0.7, 1.5), "bounds": (0.5, 1)}, r"init 1.5 lies outside bounds=\(0.5, 1.0\)"),
        ({"init": float("nan"), "bounds": (0.5, 1)}, "init nan lies outside"),
    ],
)
def test_bad_arguments_are_named(arguments, words):
    with pytest.raises(ValueError, match=words):
        sw.PReLU(**arguments)


def test_repr_shows_what_differs_from_torch():
    assert repr(sw.PReLU(3, channel_dim=-1)) == "PReLU(num_parameters=3, channel_dim=-1)"
    assert repr(sw.PReLU(bounds=(0, 1))) == "PReLU(num_parameters=1, bounds=(0.0, 1.0))"


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))])
def test_copies_are_whole_and_separate(clone):
    layer = sw.PReLU(3, (0.1, 0.2, 0.3), channel_dim=-1, bounds=(0, 1))
    other = clone(layer)
    assert repr(other) == repr(layer)
    x = torch.randn(2, 4, 3)
    assert torch.equal(other(x), layer(x))
    with torch.no_grad():
        other.weight.fill_(0.9)
    assert torch.equal(layer.weight, torch.tensor([0.1, 0.2, 0.3]))
    other.reset_parameters()
    assert torch.equal(other.weight, layer.weight)


def test_moves_between_dtypes():
    layer = sw.PReLU(3, bounds=(0, 1)).to(torch.bfloat16)
    assert layer(torch.randn(2, 3, dtype=torch.bfloat16)).dtype == torch.bfloat16
    with pytest.raises(TypeError, match=r"layer\.to\(torch\.float32\)"):
        layer(torch.randn(2, 3))
