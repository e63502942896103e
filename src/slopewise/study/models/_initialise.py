"""Initial weights of the built-in models, and the check of their width."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

Model = TypeVar("Model", bound=nn.Module)


def he_normal(model: Model) -> Model:
    """Draw the weights of convolutions and linear layers from N(0, 2 / fan_in); biases are 0 (He et al. 2015).

    The gain is that of ReLU for every activation, so that the arms of a study start from the same weights. Transposed
    convolutions whose kernel is their stride, which no activation follows, keep the variance: N(0, 1 / channels). The
    weights are laid out channels last, which convolutions pass on to their outputs: the faster layout on CPUs and
    tensor cores.
    """
    volumes = False
    for module in model.modules():
        volumes |= isinstance(module, nn.Conv3d)
        if isinstance(module, (nn.Conv2d, nn.Conv3d, nn.Linear)):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        elif isinstance(module, (nn.ConvTranspose2d, nn.ConvTranspose3d)):
            nn.init.normal_(module.weight, std=module.in_channels**-0.5)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    layout = torch.channels_last_3d if volumes else torch.channels_last
    return model.to(memory_format=layout)  # type: ignore[call-overload, no-any-return]


def check_width(width: int) -> None:
    """Check that a width is a positive integer."""
    if not isinstance(width, int) or width < 1:
        raise ValueError(f"width must be a whole number from 1 on, not {width!r}")
