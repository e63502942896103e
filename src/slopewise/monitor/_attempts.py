"""Attempts at a step that no optimizer completes: a GradScaler leaves out steps whose gradients overflowed.

A monitor that waits for the step to end would be silent for as long as all attempts fail.
"""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

from slopewise.monitor._sites import Sites
from slopewise.recording import MOST_DROPPED

_PATIENCE = 8  # times as many passes as a step has taken so far


class Attempts:
    """Training passes since the last step.

    Args:
        followed: True to follow them. Processes that train together sample the same steps, so that none may give one up
            by itself.

    Attributes:
        dropped: Number of backward passes in this sampled step whose gradients were dropped before a step.
        given_up: Number of steps before the one that was sampled without its end; -1 if there was none.
    """

    def __init__(self, *, followed: bool) -> None:
        self.dropped, self.given_up = 0, -1
        self._followed = followed
        self._passes, self._most = 0, 1
        self._gradients = 0  # those that the call sites had seen when they were last looked at

    def samples(self, done: int, every: int) -> bool:
        """Return True if the step after `done` steps is sampled: each `every`th, and one that takes many more passes.

        One that was given up has its sample.
        """
        return done != self.given_up and (done % every == 0 or self._passes > _PATIENCE * self._most)

    def begin(self) -> None:
        """Take note of a forward pass in training."""
        self._passes += self._followed

    def give_up(self, done: int, sites: Sites, parameters: Iterable[nn.Parameter]) -> bool:
        """Return True if a sampled step is not waited for: it fails again and again, or NaN is in the forward pass.

        Other devices are waited for, but only after a backward pass that has left no gradients.

        Args:
            done: Number of steps before this one.
            sites: Call sites, between two passes.
            parameters: Parameters of the model.
        """
        before, self._gradients = self._gradients, sites.gradients
        waits = not self._followed or self._gradients == before
        if waits or any(parameter.grad is not None and bool(parameter.grad.any()) for parameter in parameters):
            return False
        self.dropped += 1
        if self.dropped < MOST_DROPPED and not sites.broken:
            return False
        self.given_up = done
        return True

    def ended(self) -> None:
        """Take note that the step has ended."""
        if not self.dropped:
            self._most = max(self._most, self._passes)
        self.dropped = self._passes = self._gradients = 0
