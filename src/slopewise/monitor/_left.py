"""Gradients that backward passes leave in parameters' `.grad`, looked at between two passes."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor, nn

from slopewise.monitor._hook import remove_hooks
from slopewise.monitor._parameters import Parameters
from slopewise.monitor._sharded import local


class LeftGradients:
    """Gradients of a model's parameters, as the passes of a step leave them.

    Args:
        parameters: Parameters of the model; there is at least one.

    Attributes:
        followed: Parameters whose gradients are looked at as they come.
    """

    def __init__(self, parameters: Parameters) -> None:
        self.followed: set[nn.Parameter] = set()
        self._parameters = parameters
        self._witness = next(iter(parameters.all))  # one parameter tells of all, as long as it gets gradients
        self._version = -1  # of its gradient; -1 without one
        self._finite: dict[nn.Parameter, Tensor] = {}  # by parameter that has got a gradient, on its device
        self._removes: list[Callable[[], Any]] = []
        weakref.finalize(self, remove_hooks, self._removes)

    def grown(self) -> bool:
        """Return True if a gradient was made or added to, once, since the last call; no device is waited for."""
        gradient = self._witness.grad
        # Private: the counter by which autograd itself detects changes in place. A gradient starts at 0; what is added
        # counts as one change, and zeroing as another. Without it, values would have to be read to tell them apart.
        before, self._version = self._version, -1 if gradient is None else gradient._version
        return self._version == before + 1

    def remain(self) -> bool:
        """Return True if there is a gradient that is finite and not 0; its device is waited for."""
        for parameter in self._parameters.all:
            if parameter.grad is None:
                continue
            values = local(parameter.grad)
            if bool(values.any() & values.isfinite().all()):
                self._witness, self._version = parameter, parameter.grad._version
                return True
        return False

    def follow(self) -> None:
        """Look at gradients as they come, until `forget` is called: a loop may clear them before it can be asked."""
        for parameter in self._parameters.learned:
            if parameter not in self.followed:
                self.followed.add(parameter)
                handle = parameter.register_post_accumulate_grad_hook(partial(_see, self._finite))
                self._removes.append(handle.remove)

    def failed(self) -> bool:
        """Return True if a followed gradient that has come since the last call is not finite; waits for its device."""
        finite = [*self._finite.values()]
        self._finite.clear()
        return not all(map(bool, finite))

    def forget(self) -> None:
        """Follow no gradients any more."""
        remove_hooks(self._removes)
        self._removes.clear()
        self.followed.clear()
        self._finite.clear()


def _see(finite: dict[nn.Parameter, Tensor], parameter: nn.Parameter) -> None:
    """Note if a parameter's gradient is finite; one that an optimizer has used and cleared already is none of ours."""
    if parameter.grad is not None:
        finite[parameter] = local(parameter.grad).isfinite().all()
