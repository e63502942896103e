"""Discovery of the classes in a folder of the package, which has one file for each."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterable
from typing import Any, TypeVar

T = TypeVar("T")


def shipped_classes(package: str, path: Iterable[str], base: type[Any]) -> list[type[Any]]:
    """Return the concrete subclasses of a base class that the modules of a package define.

    Args:
        package: Name of the package.
        path: `__path__` of the package.
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
    """Check that no two classes have the same value of an attribute.

    Raises:
        ValueError: Two classes have the same value; the message names them.

    Example:
        >>> distinct([int, float], "__name__")
    """
    first: dict[object, type[T]] = {}
    for cls in classes:
        if (other := first.setdefault(getattr(cls, key), cls)) is not cls:
            names = f"{other.__module__}.{other.__name__} and {cls.__module__}.{cls.__name__}"
            raise ValueError(f"the {key} {getattr(cls, key)!r} is used twice: {names}; rename one")
