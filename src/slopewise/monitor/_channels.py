"""Channel dimension of each call site, found by tracing one forward pass."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from slopewise.nn import BatchNormPReLU, PReLU
from slopewise.trace import TraceRecorder


class Channels:
    """Channel dimensions of a model's call sites.

    The first counted forward pass is traced, and so are later ones as long as an unknown call site was met.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._axes: dict[str, int] = {}
        self._unknown: set[str] = set()
        self._tracker: TraceRecorder | None = None
        self._first = True

    def follow(
        self,
        within: ExitStack,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        modules: Iterable[nn.Module],
        *,
        functions: bool,
    ) -> None:
        """Trace the forward pass that begins, if there are unknown call sites, until `within` is closed.

        Args:
            within: Stack that is closed when the pass ends.
            args: Positional arguments of the model.
            kwargs: Keyword arguments of the model.
            modules: Modules that may be traced, without the model itself.
            functions: True to trace functions, too.
        """
        if not (self._first or self._unknown):
            return
        self._first, self._tracker = False, _Tracker()
        self._tracker.enter(self._model, args, kwargs)
        within.enter_context(self._tracker.hooked(modules))
        if functions:
            within.enter_context(self._tracker)
        within.callback(self._forget)

    def axis(self, site: str, module: nn.Module | None, z: Tensor) -> int | None:
        """Return the channel dimension of z: that of its layer, or of the layers before it, else the second dimension.

        Return None if the call site is new and the pass is not traced; the next pass is.
        """
        if z.ndim < 2:
            return 0
        if isinstance(module, PReLU) and module.num_parameters > 1:
            return module.channel_dim % z.ndim
        if isinstance(module, BatchNormPReLU) or (isinstance(module, nn.PReLU) and module.num_parameters > 1):
            return 1
        if site not in self._axes:
            if self._tracker is None:
                self._unknown.add(site)
                return None
            value = self._tracker.values.get(z)
            self._axes[site] = value.axis.dim if value is not None and value.axis is not None else 1
            self._unknown.discard(site)
        axis = self._axes[site]
        return axis if axis < z.ndim else 1

    def state_dict(self) -> dict[str, Any]:
        """Return the dimensions that are known, as plain data."""
        return {"axes": dict(self._axes), "unknown": sorted(self._unknown), "first": self._first}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from the state of the same model's call sites."""
        self._axes, self._unknown, self._first = dict(state["axes"]), set(state["unknown"]), state["first"]

    def _forget(self) -> None:
        self._tracker = None


class _Tracker(TraceRecorder):
    """Recorder that does nothing while a compiler traces the model, since it would be traced, too."""

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        if torch.compiler.is_compiling():
            return func(*args, **(kwargs or {}))
        return super().__torch_function__(func, types, args, kwargs)

    def enter(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not torch.compiler.is_compiling():
            super().enter(module, args, kwargs)

    def leave(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        if not torch.compiler.is_compiling():
            super().leave(module, args, kwargs, result)
