"""The block against the three torch layers that it stands for."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import slopewise as sw


@pytest.mark.parametrize("num_parameters", [None, 1])
@pytest.mark.parametrize(
    "settings", [{}, {"kernel_size": (1, 5), "stride": 2, "padding": (0, 1), "dilation": (1, 2), "groups": 2}]
)
def test_equals_the_three_layers(num_parameters, settings):
    settings = {"kernel_size": 3, "padding": 1, **settings}
    torch.manual_seed(0)
    block = sw.ConvBNPReLU(
        4, 6, num_parameters=num_parameters, init=0.1, eps=1e-3, momentum=0.3, dtype=torch.float64, **settings
    )
    torch.manual_seed(0)
    conv = torch.nn.Conv2d(4, 6, **settings, bias=False, dtype=torch.float64)
    bn = torch.nn.BatchNorm2d(6, eps=1e-3, momentum=0.3, dtype=torch.float64)
    act = torch.nn.PReLU(num_parameters or 6, init=0.1, dtype=torch.float64)
    x = torch.randn(5, 4, 9, 9, dtype=torch.float64)
    for train, residual in ((True, 0.0), (True, torch.randn_like(conv(x))), (False, 0.0)):
        ours = block.train(train)(x, *[residual] * isinstance(residual, torch.Tensor))
        theirs = act(bn.train(train)(conv(x)) + residual)
        torch.testing.assert_close(ours, theirs)
    ours.square().sum().backward()
    theirs.square().sum().backward()
    for mine, other in (
        (block.conv.weight, conv.weight),
        (block.bn.weight, bn.weight),
        (block.bn.bias, bn.bias),
        (block.bn.slope, act.weight),
    ):
        torch.testing.assert_close(mine.grad, other.grad)
    torch.testing.assert_close(block.bn.running_var, bn.running_var)


def test_names_and_slopes():
    block = sw.ConvBNPReLU(3, 16, bounds=(0, 1), low_memory=True)
    assert [name for name, _ in block.named_children()] == ["conv", "bn"]
    assert {name for name in block.state_dict() if not name.startswith("bn.")} == {"conv.weight"}
    assert isinstance(block.bn, sw.BatchNormPReLU2d)
    assert block.bn.slope.shape == (16,)
    assert block.bn.bounds == (0.0, 1.0)
    assert block.bn.low_memory
    assert not sw.ConvBNPReLU(3, 16).bn.low_memory
    assert sw.ConvBNPReLU(3, 16, num_parameters=1).bn.slope.shape == (1,)
    assert sw.ConvBNPReLU(3, 2, init=[0.1, 0.2]).bn.slope.tolist() == pytest.approx([0.1, 0.2])


@given(
    size=st.integers(9, 20),
    kernel=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    dilation=st.integers(1, 2),
    stride=st.integers(1, 3),
)
@settings(deadline=None)
def test_default_padding_keeps_the_size_up_to_the_stride(size, kernel, dilation, stride):
    block = sw.ConvBNPReLU(1, 1, kernel, stride, dilation=dilation, device="meta")
    output = block(torch.empty(2, 1, size, size, device="meta"))
    # A kernel of even extent cannot be centred: one row or column is lost before the stride.
    lost = [dilation * (k - 1) % 2 for k in kernel]
    assert output.shape == (2, 1, *(math.ceil((size - cut) / stride) for cut in lost))


def test_explicit_padding_is_taken_as_it_is():
    x = torch.randn(2, 3, 8, 8)
    assert sw.ConvBNPReLU(3, 4, padding=0)(x).shape == (2, 4, 6, 6)
    assert sw.ConvBNPReLU(3, 4, 5, padding="same")(x).shape == (2, 4, 8, 8)


def test_device_and_dtype_reach_every_part():
    block = sw.ConvBNPReLU(3, 4, device="meta", dtype=torch.float64)
    assert {(p.device.type, p.dtype) for p in block.parameters()} == {("meta", torch.float64)}


def test_channels_last_is_kept():
    x = torch.randn(2, 3, 8, 8).to(memory_format=torch.channels_last)
    block = sw.ConvBNPReLU(3, 4).to(memory_format=torch.channels_last)
    assert block(x).is_contiguous(memory_format=torch.channels_last)


def test_a_wrong_number_of_slopes_is_refused_at_once():
    with pytest.raises(ValueError, match=r"num_parameters=3 does not fit out_channels=16: pass 1"):
        sw.ConvBNPReLU(3, 16, num_parameters=3)
