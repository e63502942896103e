"""LiteRT, formerly TensorFlow Lite, by way of litert-torch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from slopewise.export._call import Call
from slopewise.export.runtimes._base import Exported, Loaded, Runtime


class LiteRT(Runtime):
    """LiteRT's interpreter with its XNNPACK delegate; the shapes in a .tflite file are fixed."""

    name, title, packages = "litert", "LiteRT", {"ai_edge_litert": "ai-edge-litert", "litert_torch": "litert-torch"}

    def load(self, exported: Exported) -> Loaded:
        """Convert once for each shape of the inputs."""
        import litert_torch

        module = _Flat(exported.program().module())
        converted: dict[tuple[torch.Size, ...], Any] = {}

        def run(call: Call) -> list[Tensor]:
            shapes = tuple(tensor.shape for tensor in call.tensors)
            if shapes not in converted:
                converted[shapes] = litert_torch.convert(module, call.args, call.kwargs or None)
            return [
                torch.as_tensor(array) for array in pytree.tree_leaves(converted[shapes](*call.args, **call.kwargs))
            ]

        return Loaded(run)


class _Flat(torch.nn.Module):
    """A module that returns its outputs as a tuple, since litert-torch sorts those of a dict by name."""

    def __init__(self, module: torch.nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        return tuple(pytree.tree_leaves(self.module(*args, **kwargs)))
