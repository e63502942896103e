"""A model that is changed step by step; each change of its outputs is measured, and undone if it is too large."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from slopewise.convert._proof import Difference, difference, run, tolerance
from slopewise.convert._refusal import StaysError
from slopewise.convert._swap import copy_of, swap_
from slopewise.errors import ConversionError
from slopewise.trace import Inputs

Changes = Mapping[nn.Module, nn.Module]  # modules, and the ones that take their places


class Measured:
    """A copy of a model in evaluation mode, with its outputs on the example.

    Attributes:
        model: Copy that is changed in place; another object once it is itself replaced.
        inputs: Inputs on which it is run.
        outputs: Tensors that the model returns in its present state.
    """

    def __init__(self, model: nn.Module, inputs: Inputs) -> None:
        tensors = (*model.parameters(), *model.buffers())
        if any(isinstance(tensor, (nn.UninitializedParameter, nn.UninitializedBuffer)) for tensor in tensors):
            raise ConversionError("the model is not initialised yet: run it once on the example, then fold it")
        if any(tensor.is_meta for tensor in tensors):
            raise ConversionError("the model has no values (meta device), which folding computes with: load them first")
        self.model, self.inputs = copy_of(model).eval(), inputs
        try:
            self.outputs = run(self.model, self.inputs, "evaluation")
        except Exception as error:  # a user's model can raise anything
            raise ConversionError(
                f"the model does not run on example_inputs in evaluation mode, the one that is folded: {_first(error)}"
            ) from error
        if not self.outputs:
            raise ConversionError("the model returns no tensor on example_inputs: nothing could be measured")

    @property
    def rounding(self) -> float:
        """The largest relative difference that counts as rounding; see `tolerance`."""
        return tolerance((*self.model.parameters(), *self.outputs))

    def names(self) -> dict[nn.Module, tuple[str, ...]]:
        """Return all names of every module."""
        names: defaultdict[nn.Module, list[str]] = defaultdict(list)
        for name, module in self.model.named_modules(remove_duplicate=False):
            names[module].append(name)
        return {module: tuple(listed) for module, listed in names.items()}

    def count(self) -> int:
        """Return the number of parameters, counted in elements."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    def put(self, changes: Changes) -> None:
        """Replace modules, and keep their hooks."""
        for old, new in changes.items():
            self.model = swap_(self.model, old, new)

    def outputs_with(self, changes: Changes) -> list[Tensor]:
        """Return the outputs that the model would have with some changes; it stays as it is.

        Raises:
            StaysError: The model does not run with these changes.
        """
        self.put(changes)
        try:
            return run(self.model, self.inputs, "evaluation")
        except Exception as error:  # code around the layer may read its attributes
            raise StaysError(f"the model does not run without it ({_first(error)})") from error
        finally:
            self.put({new: old for old, new in changes.items()})

    def attempt(self, changes: Changes, allowed: float, since: Sequence[Tensor] | None = None) -> Difference:
        """Change the model, and return the change of its outputs.

        Args:
            changes: Changes to make.
            allowed: Largest relative difference of the new outputs from `since`.
            since: Earlier outputs; None for those before this change.

        Raises:
            StaysError: The difference is larger, or the model does not run. Nothing is changed then.
        """
        outputs = self.outputs_with(changes)
        total = largest_change(self.outputs if since is None else since, outputs)
        if not total.relative <= allowed:
            raise StaysError(f"outputs would {'' if since is None else 'in all '}change by {total}")
        self.put(changes)
        before, self.outputs = self.outputs, outputs
        return largest_change(before, outputs)


def largest_change(before: Sequence[Tensor], after: Sequence[Tensor]) -> Difference:
    """Return the difference of the output with the largest relative one; infinite if their dtypes differ.

    Example:
        >>> import torch
        >>> largest_change([torch.tensor([100.0]), torch.tensor([1.0])], [torch.tensor([101.0]), torch.tensor([1.5])])
        Difference(largest=0.5, scale=1.0)
    """
    if [t.dtype for t in before] != [t.dtype for t in after]:
        return Difference(math.inf, 1.0)
    changes = [difference([old], [new]) for old, new in zip(before, after, strict=True)]
    return max(changes, key=lambda change: change.relative)


def _first(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
