"""torchmetrics, imported at its first use: importing it takes seconds, and accuracy does without it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from slopewise.errors import SpecError

_PARTS = ("aggregation", "classification", "image", "functional.image", "regression", "segmentation")


@cache
def torchmetrics(part: str = "") -> Any:
    """Return the package, or one of its parts that scores come from.

    Args:
        part: Name in `_PARTS`. Attributes of the package will not do: it does not import all of them itself, and where
            its import has failed before, which Lightning ignores, the attributes of those that it imported are lost.

    Raises:
        SpecError: It is not installed.

    Example:
        >>> torchmetrics("segmentation").DiceScore.__name__
        'DiceScore'
    """
    if find_spec("torchmetrics") is None:
        raise SpecError("the task's metrics need torchmetrics: pip install torchmetrics")
    with _without_broken_torchvision():
        for name in _PARTS:
            importlib.import_module(f"torchmetrics.{name}")
    return sys.modules[f"torchmetrics.{part}" if part else "torchmetrics"]


@contextmanager
def _without_broken_torchvision() -> Iterator[None]:
    """Hide a torchvision that does not go with the installed torch.

    torchmetrics imports it wherever it is installed, for metrics that slopewise does not use, and fails with it.
    """
    spec = find_spec("torchvision")
    if "torchmetrics" in sys.modules or spec is None or _imports("torchvision"):
        yield
        return
    hidden = {name: _Hidden(name) for name in ("torchvision", "torchvision.models", "torchvision.transforms")}
    hidden["torchvision"].__spec__ = spec  # transformers, which torchmetrics imports too, asks for it
    sys.modules.update(hidden)
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


def _imports(name: str) -> bool:
    try:
        importlib.import_module(name)
    except Exception:  # a library made for another torch can raise anything while it is imported
        return False
    return True


class _Hidden(ModuleType):
    """Module whose every public name is None."""

    def __getattr__(self, name: str) -> None:
        if name.startswith("__"):
            raise AttributeError(name)
