"""When a step of training ends, told from the optimizers that step."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Collection

import torch
from torch import nn
from torch.optim import Optimizer


def _nobody() -> None:
    return None


class Steps:
    """A step has ended when every parameter with a gradient has been stepped, by however many optimizers.

    That is looked at in sampled steps; in between, the optimizers that ended those end the others, too.
    """

    def __init__(self, parameters: Collection[nn.Parameter]) -> None:
        self._all = parameters
        self._stepped: set[nn.Parameter] = set()
        self._waited: set[nn.Parameter] = set()  # that have a gradient, and were not stepped yet
        self._never: set[nn.Parameter] = set()  # those that get gradients, and no optimizer steps them
        self._first: weakref.WeakSet[Optimizer] = weakref.WeakSet()  # those after which others follow
        self._others: weakref.WeakSet[Optimizer] = weakref.WeakSet()  # that have stepped in the step that goes on
        self._latest: Callable[[], Optimizer | None] = _nobody
        self._outer: Callable[[], Optimizer | None] = _nobody  # whose `step` goes on
        self._known: weakref.WeakKeyDictionary[Optimizer, tuple[int, bool]] = weakref.WeakKeyDictionary()

    def concern(self, optimizer: Optimizer) -> bool:
        """Whether an optimizer holds any parameter of the model."""
        groups, concerned = self._known.get(optimizer, (-1, False))
        if groups != len(optimizer.param_groups):
            concerned = any(parameter in self._all for group in optimizer.param_groups for parameter in group["params"])
            self._known[optimizer] = len(optimizer.param_groups), concerned
        return concerned

    def enter(self, optimizer: Optimizer) -> bool:
        """Whether the call of `step` that begins is one of its own, and not made by another optimizer's."""
        outer = self._outer()
        if outer is not None and outer is not optimizer:  # the same again: its last call was broken off by an error
            return False
        self._outer = weakref.ref(optimizer)
        return True

    def leave(self, optimizer: Optimizer) -> bool:
        """The same of the one that has returned."""
        if self._outer() is not optimizer:
            return False
        self._outer = _nobody
        return True

    @property
    def busy(self) -> bool:
        """Whether an optimizer steps right now: a forward pass is then its closure's."""
        return self._outer() is not None

    def take(self, optimizer: Optimizer) -> bool:
        """Whether a sampled step ends with what an optimizer has just done."""
        self._stepped |= {parameter for group in optimizer.param_groups for parameter in group["params"]}
        self._waited = {p for p in self._all if p.grad is not None and p not in self._stepped and p not in self._never}
        self._latest = weakref.ref(optimizer)
        # Optimizers that step within the backward pass, each when its gradient is there, are followed by others.
        if self._waited or torch._C._current_graph_task_id() != -1:
            self._first.add(optimizer)
            self._others.add(optimizer)
            return False
        self._first.discard(optimizer)
        self._clear()
        return True

    def repeats(self, optimizer: Optimizer) -> bool:
        """Whether it has stepped already in the step that goes on."""
        return optimizer in self._others

    @property
    def begun(self) -> bool:
        """Whether some parameters have been stepped, and others are waited for."""
        return bool(self._stepped)

    def abandon(self) -> None:
        """Another step begins: whatever was waited for is not waited for again."""
        self._never |= self._waited
        latest = self._latest()
        if latest is not None:
            self._first.discard(latest)
        self._clear()

    def ends(self, optimizer: Optimizer) -> bool:
        """Whether a step that is not sampled ends with this optimizer."""
        if optimizer in self._first and optimizer not in self._others:
            self._others.add(optimizer)
            return False
        self._first.discard(optimizer)  # where it was there, none has followed it
        self._clear()
        return True

    def _clear(self) -> None:
        self._stepped, self._waited = set(), set()
        self._others.clear()
