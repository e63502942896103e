"""The inputs of a call, and resized versions of it for the dimensions that may change."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from slopewise.errors import ExportError
from slopewise.trace import Inputs

Example = Tensor | Sequence[Any] | Mapping[str, Any]


@dataclass(frozen=True)
class Dimension:
    """A dimension that may change: its name, which dimensions of the same size share, and torch.export's hint."""

    name: str
    hint: Any = field(default_factory=lambda: torch.export.Dim.DYNAMIC)


@dataclass(frozen=True)
class Call(Inputs):
    """Arguments of a call; `free` holds, for each of `tensors`, the dimensions that may change."""

    free: Sequence[Mapping[int, Dimension]] = ()

    @classmethod
    def of(cls, example: Example) -> Self:
        """Return the call of an example, as `Inputs.of` reads it, with tensors that share its memory.

        Raises:
            TypeError: The example has no tensor.
        """
        call = super().of(example)
        if not call.tensors:
            raise TypeError(
                f"example_inputs has no tensor, but is {type(example).__name__}: pass a Tensor, a tuple of positional "
                "inputs or a dict of keyword inputs, as the model is called with"
            )
        return call.detached()

    @property
    def size(self) -> int:
        """Number of samples: the size of dimension 0 of the first tensor that has one."""
        return next((len(tensor) for tensor in self.tensors if tensor.ndim), 0)

    @property
    def sizes(self) -> dict[str, int]:
        """Current size of each free dimension, by its name."""
        pairs = zip(self.tensors, self.free, strict=False)
        return {free.name: tensor.shape[place] for tensor, dims in pairs for place, free in dims.items()}

    @property
    def batch(self) -> str | None:
        """Name of the free dimension that is the batch, or None."""
        pairs = zip(self.tensors, self.free, strict=False)
        return next((dims[0].name for tensor, dims in pairs if 0 in dims and len(tensor) == self.size), None)

    @property
    def fixing(self) -> str:
        """Advice about sizes that cannot be free."""
        others = any(name != self.batch for name in self.sizes)
        return "leave that dimension out of dynamic_shapes" if others else "pass dynamic_batch=False"

    def detached(self) -> Self:
        """Return the call with new tensors, which share the memory of these."""
        args, kwargs = pytree.tree_map_only(Tensor, Tensor.detach, (self.args, self.kwargs))
        return dataclasses.replace(self, args=args, kwargs=kwargs)

    def resized(self, sizes: Mapping[str, int]) -> Self:
        """Return the call with other sizes of free dimensions, filled by repeating the example's entries cyclically."""
        free = iter(self.free)

        def other(tensor: Tensor) -> Tensor:
            for place, dimension in next(free, {}).items():
                old = tensor.shape[place]
                new = sizes.get(dimension.name, old)
                if new != old and not old:
                    raise ExportError("the example is empty: pass at least one sample")
                if new != old:
                    tensor = tensor.index_select(place, torch.arange(new, device=tensor.device) % old)
            return tensor

        args, kwargs = pytree.tree_map_only(Tensor, other, (self.args, self.kwargs))
        return dataclasses.replace(self, args=args, kwargs=kwargs)

    def sample(self, number: int) -> Self:
        """Return one sample of a call whose batch is free."""
        batch, free = self.batch, iter(self.free)

        def row(tensor: Tensor) -> Tensor:
            first = next(free, {}).get(0)
            return tensor.narrow(0, number, 1) if first is not None and first.name == batch else tensor

        args, kwargs = pytree.tree_map_only(Tensor, row, (self.args, self.kwargs))
        return dataclasses.replace(self, args=args, kwargs=kwargs)

    def dynamic_shapes(self, model: torch.nn.Module) -> Any:
        """Return the `dynamic_shapes` for `torch.export.export`."""
        shapes = torch.export.ShapesCollection()
        for tensor, dims in zip(self.tensors, self.free, strict=True):
            if dims:
                shapes[tensor] = {place: dimension.hint for place, dimension in dims.items()}
        return shapes.dynamic_shapes(model, self.args, self.kwargs)

    def __str__(self) -> str:
        """Return the number of samples and the other free sizes in words: "a batch of 3, height 40"."""
        others = (f", {name} {size}" for name, size in self.sizes.items() if name != self.batch)
        return f"a batch of {self.size}{''.join(others)}"
