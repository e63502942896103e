"""Record of a forward pass: every operation, the module and the line that called it, and its values.

A symbolic trace has the graph that a program would run; this is the one that it did run, whatever the program is.
Conversion, folding and initialisation take their facts from it. `slopewise.trace._recorder` makes it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType
from typing import Any, Self

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Axis:
    """A dimension, counted from the front, and the name of the layer or function that says so."""

    dim: int
    evidence: str


@dataclass(eq=False, repr=False)  # a representation would go round in circles
class Value:
    """A tensor at one moment of the pass: changed in place, it is another value.

    Attributes:
        shape: Shape of the tensor.
        dtype: Dtype of the tensor.
        device: Device of the tensor.
        producer: Operation that returned or changed it; None for an input, and for tensors from before the pass.
        axis: Dimension of its channels, if it is known.
        users: Operations that take it.
        data: True if it depends on the model's inputs, or on numbers drawn at random; parameters and buffers do not.
        constant: The tensor itself if it is from before the pass, as a parameter or a buffer; else None.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device
    producer: OpCall | None = None
    axis: Axis | None = None
    users: list[OpCall] = field(default_factory=list)
    data: bool = True
    constant: Tensor | None = None


@dataclass(frozen=True)
class Where:
    """The place in a module's own method that led to a call.

    `direct` says that the expression there is that very call, and not one of a function that makes it.
    """

    code: CodeType
    offset: int
    direct: bool

    def __str__(self) -> str:
        if self.code.co_filename.startswith("<"):  # rewritten; the file's name says of what
            return self.code.co_filename[1:].partition(",")[0]
        start = next(iter(list(self.code.co_positions())[self.offset // 2 :]), (None,))[0]
        return f"{Path(self.code.co_filename).name}:{start or self.code.co_firstlineno}"


@dataclass(eq=False, repr=False)  # a representation would go round in circles
class OpCall:
    """One operation: a torch function, or the call of a module that is looked at as a whole (a convolution, ...)."""

    name: str
    function: Callable[..., Any] | None
    call: ModuleCall  # of the module within which the function was called; for a module, its own call
    where: Where | None
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    inputs: list[Value] = field(default_factory=list)
    outputs: list[Value] = field(default_factory=list)
    number: int = 0  # in the order of the pass

    @property
    def module(self) -> nn.Module | None:
        """The module whose call this is; None for a function."""
        return self.call.module if self.function is None else None


@dataclass(eq=False, repr=False)  # a representation would go round in circles
class ModuleCall:
    """One call of a registered module, and what it did itself, in order: operations, and calls of other modules."""

    module: nn.Module
    parent: ModuleCall | None
    where: Where | None  # in the parent
    steps: list[OpCall | ModuleCall] = field(default_factory=list)
    inputs: list[Value] = field(default_factory=list)
    outputs: list[Value] = field(default_factory=list)
    op: OpCall | None = None  # of a module that is looked at as a whole

    def walk(self) -> Iterator[ModuleCall]:
        """This call and all calls within it, in order."""
        yield self
        for step in self.steps:
            if isinstance(step, ModuleCall):
                yield from step.walk()


@dataclass(frozen=True, repr=False)
class ForwardTrace:
    """One forward pass. `output` is the pseudo-operation that uses what the model returns."""

    root: ModuleCall
    output: OpCall

    def calls(self) -> Iterator[ModuleCall]:
        """Every call of a module, outer ones first, in order."""
        return self.root.walk()

    def ops(self) -> Iterator[OpCall]:
        """Every operation, in order."""
        for call in self.calls():
            if call.op is not None:
                yield call.op
            yield from (step for step in call.steps if isinstance(step, OpCall))


@dataclass(frozen=True)
class Inputs:
    """Arguments of a model's forward pass.

    Attributes:
        args: Positional arguments.
        kwargs: Keyword arguments.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    @classmethod
    def of(cls, example: Any) -> Self:
        """Return the arguments that an example stands for.

        Args:
            example: A mapping of keyword arguments, a tuple or list of positional ones, or the only argument.

        Example:
            >>> Inputs.of(torch.ones(1)), Inputs.of({"x": 2}).kwargs
            (Inputs(args=(tensor([1.]),), kwargs={}), {'x': 2})
        """
        if isinstance(example, cls):
            return example
        if isinstance(example, Inputs):
            return cls(example.args, example.kwargs)
        if isinstance(example, Mapping):
            return cls((), dict(example))
        return cls(tuple(example) if isinstance(example, (tuple, list)) else (example,), {})

    @property
    def tensors(self) -> list[Tensor]:
        """All tensors among the arguments, in the order in which an exported program takes them."""
        leaves = torch.utils._pytree.tree_leaves((self.args, self.kwargs))
        return [leaf for leaf in leaves if isinstance(leaf, Tensor)]

    def copies(self, *, requires_grad: bool = False, detach: bool = True) -> Inputs:
        """Return the arguments with copies of their tensors, which a model may change in place."""

        def copied(tensor: Tensor) -> Tensor:
            copy = tensor.detach().clone() if detach else tensor.clone()
            return copy.requires_grad_() if requires_grad and copy.is_floating_point() else copy

        args, kwargs = torch.utils._pytree.tree_map_only(Tensor, copied, (self.args, self.kwargs))
        return Inputs(args, kwargs)


def tensors_in(data: Any) -> Iterator[Tensor]:
    """Yield the tensors in inputs or outputs of a model: nested sequences, mappings and dataclasses.

    Example:
        >>> [tensor.item() for tensor in tensors_in({"a": torch.tensor(1), "b": [torch.tensor(2), None]})]
        [1, 2]
    """
    if isinstance(data, Tensor):
        yield data
    elif isinstance(data, Mapping):
        for item in data.values():
            yield from tensors_in(item)
    elif isinstance(data, (list, tuple, set, frozenset)):
        for item in data:
            yield from tensors_in(item)
    elif dataclasses.is_dataclass(data) and not isinstance(data, type):
        for part in dataclasses.fields(data):
            yield from tensors_in(getattr(data, part.name))
