"""The fused functions with all tensors in a row, as tests draw them."""

from typing import Any

from torch import Tensor

from slopewise import functional


def fused(x: Tensor, slope: Tensor | float, *batch_norm: Any, **options: Any) -> Tensor:
    return functional.batch_norm_prelu(x, *batch_norm, slope=slope, **options)


def fused_add(x: Tensor, residual: Tensor | None, slope: Tensor | float, *batch_norm: Any, **options: Any) -> Tensor:
    return functional.batch_norm_add_prelu(x, *batch_norm, residual=residual, slope=slope, **options)
