"""Losses of each image that several kinds of tasks share."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def per_image(values: Tensor) -> Tensor:
    """Return the mean of each image's values, (N, ...) -> (N,)."""
    return values.flatten(1).mean(dim=1)


def l1(output: Tensor, target: Tensor) -> Tensor:
    """Return the mean absolute error of each image, (N,)."""
    return per_image(F.l1_loss(output, target, reduction="none"))


def mse(output: Tensor, target: Tensor) -> Tensor:
    """Return the mean squared error of each image, (N,)."""
    return per_image(F.mse_loss(output, target, reduction="none"))
