"""The standard block of convolutional networks: convolution, batch normalisation, PReLU."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.types import Device

from slopewise.nn._batch_norm_prelu import BatchNormPReLU2d
from slopewise.nn._slopes import Bounds, Init, SharedGradient, checked_count

_Pair = int | tuple[int, int]


class ConvBNPReLU(torch.nn.Module):
    """2-D convolution, batch normalisation and PReLU, in the submodules `conv` and `bn`.

    `bn` is a `BatchNormPReLU2d`, which holds the slopes as `bn.slope`. The convolution has no bias, since the
    normalisation would cancel it. The weights have PyTorch's own initialisation: the normalisation sets the scale of
    the PReLU's input, whatever the scale of the convolution's weights.

    Args:
        in_channels: Number of channels of the input.
        out_channels: Number of channels of the output.
        kernel_size: Size of the convolution's kernel: one number or (height, width).
        stride: Stride of the convolution: one number or (height, width).
        padding: Padding of the convolution: one number, (height, width), "same" or "valid". None is
            dilation·(kernel_size − 1)/2, rounded down: with an odd kernel the output has the input's height and width
            divided by the stride, rounded up.
        dilation: Dilation of the convolution: one number or (height, width).
        groups: Number of groups of the convolution.
        num_parameters: Number of slopes: None for one per output channel, 1 for one shared slope.
        init: Initial slopes, as in `PReLU`.
        bounds: Bounds of the slopes, as in `PReLU`.
        eps: The ε of the normalisation.
        momentum: Weight of a batch in the running statistics; None averages over all batches.
        device: Device of all parameters.
        dtype: Dtype of all parameters.
        low_memory: If True, `bn` keeps its output, which the next convolution keeps anyway, instead of its input.
        shared_gradient: Reduction of a shared slope's gradient, "sum" or "mean", as in `PReLU`.

    Shape:
        Input (N, in_channels, H, W), output (N, out_channels, H', W') as in `torch.nn.Conv2d`. The optional second
        argument of the forward pass is a residual of the output's shape, added before the PReLU.

    Raises:
        ValueError: `num_parameters` is neither None, 1 nor `out_channels`; or as in `PReLU` and `torch.nn.Conv2d`.

    Example:
        >>> block = ConvBNPReLU(3, 16, stride=2)
        >>> block(torch.randn(8, 3, 32, 32)).shape
        torch.Size([8, 16, 16, 16])
        >>> block.bn.slope.shape
        torch.Size([16])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: _Pair = 3,
        stride: _Pair = 1,
        padding: _Pair | str | None = None,
        dilation: _Pair = 1,
        groups: int = 1,
        *,
        num_parameters: int | None = None,
        init: Init = 0.25,
        bounds: Bounds | None = None,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        device: Device = None,
        dtype: torch.dtype | None = None,
        low_memory: bool | None = False,
        shared_gradient: SharedGradient = "sum",
    ) -> None:
        super().__init__()
        slopes = checked_count(num_parameters, out_channels, "out_channels")
        if padding is None:
            padding = _centred_padding(kernel_size, dilation)
        self.conv = torch.nn.Conv2d(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            groups,
            bias=False,
            device=device,
            dtype=dtype,
        )
        self.bn = BatchNormPReLU2d(
            out_channels,
            eps,
            momentum,
            device=device,
            dtype=dtype,
            num_parameters=slopes,
            init=init,
            bounds=bounds,
            low_memory=low_memory,
            shared_gradient=shared_gradient,
        )

    def forward(self, input: Tensor, residual: Tensor | None = None) -> Tensor:  # noqa: A002 (PyTorch's name)
        """Apply the block to a batch of images; the residual, if given, is added before the PReLU."""
        convolved = self.conv(input)
        output: Tensor = self.bn(convolved) if residual is None else self.bn(convolved, residual)
        return output


def _centred_padding(kernel_size: _Pair, dilation: _Pair) -> tuple[int, int]:
    kernel, spread = (value if isinstance(value, tuple) else (value, value) for value in (kernel_size, dilation))
    return spread[0] * (kernel[0] - 1) // 2, spread[1] * (kernel[1] - 1) // 2
