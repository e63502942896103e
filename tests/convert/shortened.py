"""Networks of libraries without layers that only repeat others."""

from torch import nn


def shortened(net: nn.Module) -> nn.Module:
    """Leave out the layers of a MobileNetV2 that repeat the one before them, all but the first two: seven of 16."""
    widths = [layer.reduce_1x1.convolution.out_channels for layer in net.mobilenet_v2.layer]
    kept = [number for number, width in enumerate(widths) if number <= 2 or width != widths[number - 1]]
    net.mobilenet_v2.layer = nn.ModuleList(net.mobilenet_v2.layer[number] for number in kept)
    return net
