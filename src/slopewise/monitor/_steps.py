"""When a step of training ends, told from the optimizers that step."""

from __future__ import annotations

import weakref
from collections.abc import Collection

from torch import nn
from torch.optim import Optimizer


class Steps:
    """A step has ended when every parameter with a gradient has been stepped, by however many optimizers.

    That is looked at in sampled steps; in between, the optimizers that ended those end the others, too.
    """

    def __init__(self, parameters: Collection[nn.Parameter]) -> None:
        self._all = parameters
        self._stepped: set[nn.Parameter] = set()
        self._never: set[nn.Parameter] = set()  # those that get gradients, and no optimizer steps them
        self._first: weakref.WeakSet[Optimizer] = weakref.WeakSet()  # those after which others follow
        self._latest: weakref.ref[Optimizer] | None = None
        self._known: weakref.WeakKeyDictionary[Optimizer, tuple[int, bool]] = weakref.WeakKeyDictionary()

    def concern(self, optimizer: Optimizer) -> bool:
        """Whether an optimizer holds any parameter of the model."""
        groups, concerned = self._known.get(optimizer, (-1, False))
        if groups != len(optimizer.param_groups):
            concerned = any(parameter in self._all for group in optimizer.param_groups for parameter in group["params"])
            self._known[optimizer] = len(optimizer.param_groups), concerned
        return concerned

    def take(self, optimizer: Optimizer) -> bool:
        """Whether the step ends with what an optimizer has just done."""
        self._stepped |= {parameter for group in optimizer.param_groups for parameter in group["params"]}
        self._latest = weakref.ref(optimizer)
        if self._waiting():
            self._first.add(optimizer)
            return False
        self._first.discard(optimizer)
        self._stepped.clear()
        return True

    @property
    def begun(self) -> bool:
        """Whether some parameters have been stepped, and others are waited for."""
        return bool(self._stepped)

    def abandon(self) -> None:
        """Another step begins: whatever was waited for is not waited for again."""
        self._never |= self._waiting()
        self._stepped.clear()
        latest = None if self._latest is None else self._latest()
        if latest is not None:
            self._first.discard(latest)

    def ends(self, optimizer: Optimizer) -> bool:
        """Whether a step that is not sampled ends with this optimizer."""
        return optimizer not in self._first

    def _waiting(self) -> set[nn.Parameter]:
        return {p for p in self._all if p.grad is not None and p not in self._stepped and p not in self._never}
