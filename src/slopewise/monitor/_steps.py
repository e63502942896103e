"""The step tracker: which calls of optimizers belong to one step of training, and where it ends.

States of a step, and the events that `StepTracker` returns:

               stepping(optimizer)              stepped(optimizer)
    +------+   GOES_ON    +----------+   ENDED (no parameter is waited for)     +------+
    | idle | -----------> | stepping | ---------------------------------------> | idle |  the step counts
    +------+              +----------+                                          +------+
                            ^      |  GOES_ON (parameters with gradients are waited for, or a backward pass goes on)
                            |      v
          stepping(another) |   +---------+   stepping(an optimizer that has stepped): NEXT
                   GOES_ON  +-- | waiting |   forward pass: ENDED, and what was waited for is not waited for again
                                +---------+

A call that concerns no parameter of the model, or is made by another optimizer's `step`, is FOREIGN in any state.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Collection
from enum import Enum, auto

import torch
from torch import nn
from torch.optim import Optimizer


class StepEvent(Enum):
    """Meaning of a call for the step of training that goes on."""

    FOREIGN = auto()  # none: the call is of no concern
    GOES_ON = auto()  # the call is a part of the step
    NEXT = auto()  # the step had ended before: the call belongs to the next one
    ENDED = auto()  # the step has ended with the call


def _none() -> None:
    return None


class StepTracker:
    """Tells when a step of training ends: when every parameter with a gradient has been stepped, by any optimizers.

    Gradients are checked in sampled steps alone. In other steps, the optimizer that completed the last sampled step is
    assumed to complete this one.

    Args:
        parameters: Parameters of the model.

    Attributes:
        given_up: Parameters that get gradients, and that no optimizer steps: they are not waited for.
    """

    def __init__(self, parameters: Collection[nn.Parameter]) -> None:
        self._all = parameters
        self._stepped: set[nn.Parameter] = set()
        self._awaited: set[nn.Parameter] = set()  # parameters with a gradient that have not been stepped yet
        self.given_up: set[nn.Parameter] = set()
        self._followed: weakref.WeakSet[Optimizer] = weakref.WeakSet()  # optimizers after which others step
        self._in_step: weakref.WeakSet[Optimizer] = weakref.WeakSet()  # optimizers that have stepped in this step
        self._resumed = False  # True in the first step after `resume`, where gradients are checked in any case
        self._latest: Callable[[], Optimizer | None] = _none
        self._outer: Callable[[], Optimizer | None] = _none  # the optimizer whose `step` is being called
        self._concerned: weakref.WeakKeyDictionary[Optimizer, tuple[int, bool]] = weakref.WeakKeyDictionary()

    def stepping(self, optimizer: Optimizer, *, sampled: bool) -> StepEvent:
        """Take note that `optimizer.step()` begins."""
        if not self._concerns(optimizer):
            return StepEvent.FOREIGN
        outer = self._outer()
        if outer is not None and outer is not optimizer:  # the same optimizer: an error ended its last call
            return StepEvent.FOREIGN
        self._outer = weakref.ref(optimizer)
        return StepEvent.NEXT if sampled and optimizer in self._in_step else StepEvent.GOES_ON

    def stepped(self, optimizer: Optimizer, *, sampled: bool) -> StepEvent:
        """Take note that `optimizer.step()` has returned."""
        if not self._concerns(optimizer) or self._outer() is not optimizer:
            return StepEvent.FOREIGN
        self._outer = _none
        complete = self._completes(optimizer) if sampled or self._resumed else self._completed_last(optimizer)
        return StepEvent.ENDED if complete else StepEvent.GOES_ON

    def forward(self) -> StepEvent:
        """Take note that a counted forward pass begins; one within `optimizer.step` is that of its closure."""
        return StepEvent.ENDED if self.begun and not self.within else StepEvent.GOES_ON

    @property
    def within(self) -> bool:
        """True while an optimizer steps, as in the passes of its closure."""
        return self._outer() is not None

    @property
    def begun(self) -> bool:
        """True if some parameters have been stepped, and others are waited for."""
        return bool(self._stepped)

    def abandon(self) -> None:
        """Begin another step; parameters that were waited for in vain are not waited for again."""
        self.given_up |= self._awaited
        latest = self._latest()
        if latest is not None:
            self._followed.discard(latest)
        self._clear()

    def resume(self, given_up: set[nn.Parameter]) -> None:
        """Go on where another tracker of the same model was between two steps.

        Args:
            given_up: Parameters that the other tracker did not wait for any more.
        """
        self.given_up, self._resumed = set(given_up), True
        self._clear()

    def _concerns(self, optimizer: Optimizer) -> bool:
        """Return True if an optimizer has any parameter of the model."""
        groups, concerned = self._concerned.get(optimizer, (-1, False))
        if groups != len(optimizer.param_groups):
            concerned = any(parameter in self._all for group in optimizer.param_groups for parameter in group["params"])
            self._concerned[optimizer] = len(optimizer.param_groups), concerned
        return concerned

    def _completes(self, optimizer: Optimizer) -> bool:
        """Return True if no parameter with a gradient is left after an optimizer has stepped."""
        self._stepped |= {parameter for group in optimizer.param_groups for parameter in group["params"]}
        ignored = self._stepped | self.given_up
        self._awaited = {p for p in self._all if p.grad is not None and p not in ignored}
        self._latest = weakref.ref(optimizer)
        # Optimizers that step within the backward pass, each as soon as its gradient is there, are followed by others.
        # Only autograd's own engine knows that a backward pass goes on; without this, each of them would end a step.
        if self._awaited or torch._C._current_graph_task_id() != -1:
            self._followed.add(optimizer)
            self._in_step.add(optimizer)
            return False
        self._followed.discard(optimizer)
        self._resumed = False
        self._clear()
        return True

    def _completed_last(self, optimizer: Optimizer) -> bool:
        """Return True if an optimizer is the one that completes steps, as far as the last sampled step has shown."""
        if optimizer in self._followed and optimizer not in self._in_step:
            self._in_step.add(optimizer)
            return False
        self._followed.discard(optimizer)  # it stepped twice: no other one has followed it
        self._clear()
        return True

    def _clear(self) -> None:
        self._stepped, self._awaited = set(), set()
        self._in_step.clear()
