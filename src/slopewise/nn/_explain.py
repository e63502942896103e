"""Error messages for invalid arguments, worked out only after a function has failed: valid calls pay nothing."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor


def prelu(input: Tensor, weight: Tensor, channel_dim: int) -> None:  # noqa: A002 (PyTorch's name)
    """Raise an error that names the rule of `prelu` that the arguments break; return if they break none."""
    _check_slope_dims(weight)
    if input.dtype != weight.dtype:
        raise TypeError(
            f"the input is {input.dtype} and the slopes are {weight.dtype}: convert one of them, for example the "
            f"layer with layer.to({input.dtype})"
        ) from None
    shape, slopes = tuple(input.shape), weight.numel()
    in_range = -len(shape) <= channel_dim < len(shape)
    if slopes == 1 or (in_range and shape[channel_dim] == slopes):
        return
    channels = f"{shape[channel_dim]} channels in" if in_range else "no"
    per_channel = f"num_parameters={shape[channel_dim]} for one slope per channel, " if in_range else ""
    fitting = " or ".join(f"channel_dim={dim}" for dim, size in enumerate(shape) if size == slopes)
    raise ValueError(
        f"{slopes} slopes do not fit an input of shape {shape}, which has {channels} dimension {channel_dim}: pass "
        f"{per_channel}num_parameters=1 for a shared slope, "
        + (f"or {fitting} if the channels are there" if fitting else "or the channel_dim of the channels")
    ) from None


def batch_norm_prelu(
    input: Tensor,  # noqa: A002
    slope: Tensor | float,
    statistics: Mapping[str, Tensor | None],
    affine: Mapping[str, Tensor | None],
    training: bool,
) -> None:
    """Raise an error that names the rule of `batch_norm_prelu` that the arguments break; return if they break none."""
    shape = tuple(input.shape)
    if len(shape) < 2:
        raise ValueError(
            f"the input has shape {shape}, and no dimension 1 for the channels: pass (N, C) or (N, C, ...)"
        ) from None
    missing = [name for name, tensor in statistics.items() if tensor is None]
    if not training and missing:
        raise ValueError(
            f"{' and '.join(missing)} must be given where training=False, since the input is normalised by the "
            f"running statistics: pass them, or training=True to use the input's own"
        ) from None
    for name, tensor in {**statistics, **affine}.items():
        if tensor is not None and tuple(tensor.shape) != shape[1:2]:
            raise ValueError(
                f"{name} has shape {tuple(tensor.shape)}, and the input of shape {shape} has {shape[1]} channels: "
                f"pass one value per channel"
            ) from None
    if not isinstance(slope, Tensor):
        if not isinstance(slope, (int, float)):
            raise TypeError(f"slope must be a tensor or a number, got {slope!r}") from None
        return
    _check_slope_dims(slope)
    if slope.numel() not in (1, shape[1]):
        raise ValueError(
            f"{slope.numel()} slopes do not fit an input of shape {shape}, which has {shape[1]} channels: pass one "
            f"slope per channel, or a single one to share. If structured pruning has taken channels away, it took the "
            f"fused layer for a BatchNorm and left the slopes: put layer.unfuse() in its place before pruning"
        ) from None


def _check_slope_dims(slopes: Tensor) -> None:
    if slopes.ndim > 1:
        raise ValueError(
            f"the slopes have shape {tuple(slopes.shape)}: pass a scalar or a vector with one slope per channel"
        ) from None
