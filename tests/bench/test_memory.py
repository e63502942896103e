import sys

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from slopewise import ops
from slopewise.bench import CONVOLUTIONS, FUSED, FUSED_LOW_MEMORY, PRELU, RELU
from slopewise.bench._memory import peak_bytes, saved_bytes, step_bytes
from slopewise.bench._networks import batch_of, seeded
from slopewise.convert import convert


def tensor(*shape):
    return torch.randn(*shape, requires_grad=True)


def test_a_storage_counts_once_however_often_it_is_saved():
    x, y = tensor(10, 10), tensor(10, 10)
    assert saved_bytes(lambda: x * y) == 800
    assert saved_bytes(lambda: (x * x) * x) == 800  # x and x², each saved twice


def test_a_view_counts_with_the_whole_storage_that_it_keeps_alive():
    x = tensor(100, 10)
    assert saved_bytes(lambda: x[:1] * x[5:6]) == 4000


def test_parameters_do_not_count_but_what_is_computed_from_them_does():
    layer = nn.Linear(20, 30, bias=False)
    x = tensor(5, 20)
    assert saved_bytes(lambda: layer(x), layer.parameters()) == 4 * 5 * 20
    assert saved_bytes(lambda: F.linear(x, layer.weight * 2), layer.parameters()) == 4 * (5 * 20 + 20 * 30)


def test_without_a_gradient_nothing_is_saved():
    x = tensor(10, 10)
    with torch.no_grad():
        assert saved_bytes(lambda: x * x) == 0


@pytest.mark.parametrize(("activation", "expected"), [(nn.ReLU(inplace=True), 2), (nn.ReLU(), 2), (nn.PReLU(4), 3)])
def test_a_stock_block_by_hand(activation, expected):
    """Convolution: its input. ReLU: its output. PReLU: its input. The last convolution: its input, ReLU's output."""
    block = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), activation, nn.Conv2d(4, 4, 3, padding=1))
    x = tensor(2, 4, 16, 16)
    assert saved_bytes(lambda: block(x), block.parameters()) == expected * x.nbytes


def test_stock_prelu_networks_save_more_than_relu_networks():
    images, labels = batch_of(8, "contiguous")
    relu, prelu = (step_bytes(seeded("resnet20", v, "contiguous", 16), images, labels) for v in (RELU, PRELU))
    assert 1.4 < prelu / relu < 1.6


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_a_low_memory_network_saves_what_its_convolutions_save_anyway(layout):
    """Beside that: the two padded shortcuts, which no convolution reads, the last output, and values per channel.

    A residual that is the block's input is saved twice, by the block's first convolution and by its last layer.
    """
    batch = 32
    images, labels = batch_of(batch, layout)
    low_memory, convolutions, fused = (
        step_bytes(seeded("resnet20", v, layout, 16), images, labels) for v in (FUSED_LOW_MEMORY, CONVOLUTIONS, FUSED)
    )
    shortcuts = 4 * batch * (32 * 16 * 16 + 64 * 8 * 8)
    last = 4 * batch * 64 * 8 * 8
    channels = 7 * 16 + 6 * 32 + 6 * 64
    extra = low_memory - convolutions - shortcuts - last
    assert 0 < extra <= 8 * 4 * channels
    assert low_memory < 0.6 * fused


@pytest.mark.parametrize("enabled", [True, False], ids=["kernels", "no kernels"])
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_a_fused_resnet_keeps_about_half_of_what_one_of_relus_does(layout, enabled):
    """Without kernels, low memory has to be asked for on a CPU; devices that never have any keep outputs anyway."""
    if enabled and ops.backend().name != "kernels":
        pytest.skip("there are no kernels")
    images, labels = batch_of(8, layout)
    relu = seeded("resnet20", RELU, layout, 16)
    with ops.use_kernels(enabled=enabled):
        fused = convert(relu, images[:2], fuse=True, low_memory=None if enabled else True).model
        assert step_bytes(fused, images, labels) <= 0.55 * step_bytes(relu, images, labels)


needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="reads the kernel's counters in /proc")


@needs_linux
@pytest.mark.slow
def test_a_failing_process_says_what_and_why():
    with pytest.raises(RuntimeError, match=r"measuring GReLU ended with status 1:\n(.|\n)*KeyError: 'GReLU'"):
        peak_bytes("cnn", "GReLU", "contiguous", batch=2, width=2)
