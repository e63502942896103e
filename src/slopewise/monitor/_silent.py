"""Layers whose calls a monitor need not follow, because they apply no activation."""

from torch import nn

_SILENT = frozenset(
    {
        *(nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d),
        *(nn.Linear, nn.Bilinear, nn.Embedding, nn.Identity, nn.Flatten, nn.Unflatten, nn.Upsample, nn.PixelShuffle),
        *(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.LocalResponseNorm),
        *(nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d),
        *(nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d),
        *(nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d),
        *(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d, nn.AdaptiveMaxPool2d, nn.ZeroPad2d),
    }
)


def is_silent(module: nn.Module) -> bool:
    """Return True for a layer of PyTorch's that calls neither other modules nor activations.

    Example:
        >>> is_silent(nn.Linear(2, 2)), is_silent(nn.ReLU()), is_silent(nn.Sequential())
        (True, False, False)
    """
    # Hooks, parametrisations and a `forward` of the module's own can call anything.
    own = module._forward_hooks or module._forward_pre_hooks or module._modules or "forward" in vars(module)
    return type(module) in _SILENT and not own
