"""Layers of PyTorch that, without gradients, compute their activation in a kernel and never call the module.

`torch.nn.TransformerEncoderLayer` chooses the kernel by an attribute that its constructor derived from the activation;
`torch.nn.TransformerEncoder` passes nested tensors, which only that kernel takes.
"""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn


def close_fast_paths_(model: nn.Module, names: Iterable[str]) -> None:
    """Let the layers around some submodules call these in evaluation mode as well, in place.

    Args:
        model: Model to change.
        names: Names of the replaced activations.

    Example:
        >>> layer = nn.TransformerEncoderLayer(4, 2, 8, activation=nn.ReLU())
        >>> layer.activation = nn.PReLU()
        >>> close_fast_paths_(layer, ["activation"])
        >>> layer.activation_relu_or_gelu
        0
    """
    for name in names:
        around, *inner = "", *name.split(".")[:-1]
        for part in (None, *inner):
            around = around if part is None else f"{around}.{part}".lstrip(".")
            layer = model.get_submodule(around)
            # Both attributes are undocumented, and nothing documented turns the kernel off for one layer. Left as they
            # are, new slopes would be trained and then ignored in evaluation.
            if isinstance(layer, nn.TransformerEncoderLayer):
                layer.activation_relu_or_gelu = 0
            elif isinstance(layer, nn.TransformerEncoder):
                layer.use_nested_tensor = False
