"""The inputs of a call, and the same with another number of samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from slopewise.export._error import ExportError

Example = Tensor | tuple[Any, ...] | dict[str, Any]


@dataclass(frozen=True)
class Call:
    """Positional and keyword arguments; `size` is dimension 0 of the first tensor, the number of samples."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    size: int

    @classmethod
    def of(cls, example: Example) -> Self:
        """A tensor is the one positional argument, a tuple are all of them, a dict is keyword arguments."""
        args: tuple[Any, ...] = ()
        kwargs: dict[str, Any] = {}
        if isinstance(example, Tensor):
            args = (example,)
        elif isinstance(example, tuple):
            args = example
        elif isinstance(example, dict):
            kwargs = dict(example)
        else:
            raise TypeError(
                "example_inputs must be a Tensor, a tuple of positional inputs or a dict of keyword inputs, got "
                f"{type(example).__name__}"
            )
        tensors = _tensors((args, kwargs))
        if not tensors:
            raise TypeError("example_inputs has no tensor: pass what the model is called with")
        size = next((len(tensor) for tensor in tensors if tensor.ndim), 0)
        return cls(args, kwargs, size).detached()

    @property
    def tensors(self) -> list[Tensor]:
        """All tensors among the arguments, in the order in which an exported program takes them."""
        return _tensors((self.args, self.kwargs))

    def is_batched(self, tensor: Tensor) -> bool:
        """Whether a tensor's dimension 0 is the batch: it is as long as the first tensor's."""
        return tensor.ndim > 0 and len(tensor) == self.size

    def detached(self) -> Self:
        """The same call with tensors of its own, which share the memory of these."""
        args, kwargs = pytree.tree_map_only(Tensor, Tensor.detach, (self.args, self.kwargs))
        return type(self)(args, kwargs, self.size)

    def resized(self, size: int) -> Self:
        """The same call with `size` samples, which repeat the example's in turn."""
        if size == self.size:
            return self
        if not self.size:
            raise ExportError("the example is empty: pass at least one sample")

        def rows(tensor: Tensor) -> Tensor:
            places = torch.arange(size, device=tensor.device) % self.size
            return tensor[places] if self.is_batched(tensor) else tensor

        args, kwargs = pytree.tree_map_only(Tensor, rows, (self.args, self.kwargs))
        return type(self)(args, kwargs, size)

    def dynamic_shapes(self, model: torch.nn.Module) -> Any:
        """What `torch.export.export` is to be told: dimension 0 of the batched tensors is any number."""
        shapes = torch.export.ShapesCollection()
        for tensor in filter(self.is_batched, self.tensors):
            shapes[tensor] = {0: torch.export.Dim.DYNAMIC}
        return shapes.dynamic_shapes(model, self.args, self.kwargs)


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in pytree.tree_leaves(tree) if isinstance(leaf, Tensor)]
