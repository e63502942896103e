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

_PARTS = ("classification", "image", "regression", "segmentation")  # the package does not import all of them itself


@cache
def torchmetrics() -> Any:
    """Return the package with the parts of it that scores come from.

    Raises:
        SpecError: It is not installed.

    Example:
        >>> torchmetrics().image.PeakSignalNoiseRatio.__name__
        'PeakSignalNoiseRatio'
    """
    if find_spec("torchmetrics") is None:
        raise SpecError("the task's metrics need torchmetrics: pip install torchmetrics")
    with _without_broken_torchvision():
        package = importlib.import_module("torchmetrics")
        for part in _PARTS:
            importlib.import_module(f"torchmetrics.{part}")
    return package


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
