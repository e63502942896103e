"""Attempts at a step that no optimizer completes: a GradScaler leaves out steps whose gradients overflowed.

A monitor that waits for the step to end would be silent for as long as all attempts fail.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slopewise.monitor._left import LeftGradients
from slopewise.monitor._parameters import Parameters
from slopewise.monitor._sites import Sites
from slopewise.recording import MOST_DROPPED

_PATIENCE = 8  # times as many passes as a step has taken so far


class Attempts:
    """Training passes since the last step.

    An attempt has failed if gradients came that were not finite, and none is left. Gradients that are computed for
    something else, as by `torch.autograd.grad`, leave none either, and their passes belong to the step.

    Args:
        parameters: Parameters of the model.
        followed: True to follow them. Processes that train together sample the same steps, so that none may give one up
            by itself.

    Attributes:
        dropped: Number of backward passes in this sampled step whose gradients were not finite and were dropped.
    """

    def __init__(self, parameters: Parameters, *, followed: bool) -> None:
        self.dropped = 0
        self._left = LeftGradients(parameters)
        self._followed = followed
        self._given_up = -1  # number of steps before the one that was sampled without its end
        self._passes, self._most = 0, 1
        self._gradients = 0  # those that the call sites had seen when they were last looked at

    def state_dict(self) -> dict[str, Any]:
        """Return what is remembered between steps, as plain data."""
        return {"given_up": self._given_up, "most_passes": self._most}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from the state of another monitor of the same model; states of earlier versions lack entries."""
        self._given_up, self._most = state.get("given_up", -1), state.get("most_passes", 1)

    def samples(self, done: int, every: int) -> bool:
        """Return True if the step after `done` steps is sampled: each `every`th, and one that takes many more passes.

        One that was given up has its sample.
        """
        return done != self._given_up and (done % every == 0 or self._passes > _PATIENCE * self._most)

    def begin(self) -> None:
        """Take note of a forward pass in training."""
        self._passes += self._followed

    def give_up(self, done: int, sites: Sites) -> bool:
        """Return True if a sampled step is not waited for: it fails again and again, or NaN is in the forward pass.

        Other devices are waited for, but only after a backward pass that has not added to the gradients that are left.

        Args:
            done: Number of steps before this one.
            sites: Call sites, between two passes.
        """
        if not self._followed:
            return False
        before, self._gradients = self._gradients, sites.gradients
        grown = self._left.grown()
        if grown or self._gradients == before or self._left.remain() or not self._failed(sites):
            return False
        self.dropped += 1
        if self.dropped < MOST_DROPPED and not sites.broken:
            return False
        self._given_up = done
        self._left.forget()
        return True

    def ended(self, done: int) -> None:
        """Take note that the step after `done` steps has ended."""
        if done != self._given_up:
            self._most = max(self._most, self._passes - self.dropped)
        self.dropped = self._passes = self._gradients = 0
        self.close()

    def close(self) -> None:
        """Take out hooks."""
        if self._left.followed:
            self._left.forget()

    def _failed(self, sites: Sites) -> bool:
        """Return True if the latest gradients, none of which is left, were not finite."""
        # The sums of call sites tell of the first backward pass alone, since they stay what they were. From then on,
        # gradients are looked at one by one, also those that reach no call site.
        failed = self._left.failed() if self._left.followed else not sites.finite
        self._left.follow()
        return failed
