"""In which dimension each call site has its channels: learnt by following a pass closely, once."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from slopewise.nn import BatchNormPReLU, PReLU
from slopewise.trace import TraceRecorder


class Channels:
    """The channels' dimension of each call site of a model.

    The first counted pass is followed, and so are later ones while a site was met that is not known.
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
        """Follow the pass that begins, if there is something to learn, until `within` is closed.

        Args:
            within: of the pass.
            args: of the model.
            kwargs: likewise.
            modules: that may be followed, without the model itself.
            functions: may be followed, too.
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
        """Where z has its channels: the layer says it, or the layers before it do, else the second dimension.

        None where the pass is not followed, and the site is new: the next one tells.
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

    def _forget(self) -> None:
        self._tracker = None


class _Tracker(TraceRecorder):
    """Leaves what a compiler traces alone: it would trace this, too."""

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
