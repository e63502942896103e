"""Classes that a folder of the package holds, one file each, so that a new file is a new one of them."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterable
from typing import TypeVar

T = TypeVar("T")


def shipped_classes(package: str, path: Iterable[str], base: type[T]) -> list[type[T]]:
    """Return the classes that the modules of a package define over a base class, without abstract ones.

    Args:
        package: Name of the package.
        path: Its `__path__`.
        base: Base class.

    Example:
        >>> from slopewise import recording
        >>> shipped_classes(recording.__name__, recording.__path__, int)
        []
    """
    modules = [importlib.import_module(f"{package}.{module.name}") for module in pkgutil.iter_modules(path)]
    return [
        value
        for module in modules
        for value in vars(module).values()
        if inspect.isclass(value)
        and issubclass(value, base)
        and value.__module__ == module.__name__
        and not inspect.isabstract(value)
    ]


def distinct(classes: Iterable[type[T]], key: str) -> None:
    """Refuse two classes with the same value of an attribute.

    Raises:
        ValueError: Two have it; the message names them.

    Example:
        >>> distinct([int, float], "__name__")
    """
    first: dict[object, type[T]] = {}
    for cls in classes:
        if (other := first.setdefault(getattr(cls, key), cls)) is not cls:
            names = f"{other.__module__}.{other.__name__} and {cls.__module__}.{cls.__name__}"
            raise ValueError(f"the {key} {getattr(cls, key)!r} stands twice: {names}; rename one")
