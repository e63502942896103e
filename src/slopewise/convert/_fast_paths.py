"""Layers of PyTorch's that, without gradients, compute their activation in a kernel of their own and never call it.

`torch.nn.TransformerEncoderLayer` chooses the kernel by a number that its constructor took from the activation that was
there, `torch.nn.TransformerEncoder` hands it nested tensors, which nothing but that kernel takes.
"""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn


def close_fast_paths_(model: nn.Module, names: Iterable[str]) -> None:
    """Let the layers around some submodules call these in evaluation, too; in place.

    Args:
        model: changed.
        names: Names of the activations that were replaced.

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
            if isinstance(layer, nn.TransformerEncoderLayer):
                layer.activation_relu_or_gelu = 0
            elif isinstance(layer, nn.TransformerEncoder):
                layer.use_nested_tensor = False
