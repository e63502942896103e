"""Hook of a module that is left behind when the module is copied or saved."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Hook:
    """Hook that calls a function; its copies and unpickled copies do nothing.

    Averages of weights copy models while they train (`torch.optim.swa_utils.AveragedModel`), and `torch.save` pickles
    them, hooks included: the copy is not watched, and must not carry the monitor with it.

    Example:
        >>> import copy
        >>> hook = Hook(print)
        >>> hook("seen"), copy.deepcopy(hook)("not seen")
        seen
        (None, None)
    """

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call

    def __call__(self, *args: Any) -> Any:
        return self._call(*args)

    def __reduce__(self) -> tuple[Callable[[Callable[..., Any]], Hook], tuple[Callable[..., Any]]]:
        return Hook, (_nothing,)


def _nothing(*_: Any) -> None:
    pass
