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

    Attributes:
        dropped: Number of backward passes in this sampled step whose gradients were dropped before a step.
    """

    def __init__(self) -> None:
        self.dropped = 0
        self._passes, self._most = 0, 1
        self._gradients = 0  # those that the call sites had seen when they were last looked at

    @property
    def overdue(self) -> bool:
        """True if the step has taken many more passes than any before."""
        return self._passes > _PATIENCE * self._most

    def begin(self) -> None:
        """Take note of a forward pass in training."""
        self._passes += 1

    def given_up(self, sites: Sites, parameters: Iterable[nn.Parameter]) -> bool:
        """Return True if the step is not worth waiting for: it fails again and again, or NaN is in the forward pass.

        Other devices are waited for, but only after a backward pass that has left no gradients.

        Args:
            sites: Call sites, between two passes of a sampled step.
            parameters: Parameters of the model.
        """
        before, self._gradients = self._gradients, sites.gradients
        if self._gradients == before or any(p.grad is not None and bool(p.grad.any()) for p in parameters):
            return False
        self.dropped += 1
        return self.dropped >= MOST_DROPPED or sites.broken

    def ended(self) -> None:
        """Take note that the step has ended."""
        if not self.dropped:
            self._most = max(self._most, self._passes)
        self.dropped = self._passes = self._gradients = 0
