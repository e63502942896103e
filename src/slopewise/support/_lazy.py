"""Names of a package that are imported when they are first used, so that importing the package costs little."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from slopewise.support._deprecated import deprecated


def importer(
    package: str,
    names: Mapping[str, Collection[str]],
    *,
    modules: Collection[str] = (),
    extras: Mapping[str, str] | None = None,
    renamed: Mapping[str, str] | None = None,
) -> Callable[[str], Any]:
    """Return a module's ``__getattr__`` (PEP 562) that imports public names of a package on first use.

    Args:
        package: Name of the package that gets the function.
        names: Names that each module of the package defines.
        modules: Modules of the package that are public names themselves.
        extras: Extra of slopewise that brings a module's dependencies, for the modules that need one.
        renamed: New name of each public name that was renamed; the old one warns once.

    Example:
        >>> find = importer("slopewise", {"errors": ["nearest"]}, modules=["nn"])
        >>> find("nearest").__name__, find("nn").__name__
        ('nearest', 'slopewise.nn')
    """
    home = {name: module for module, defined in names.items() for name in defined}

    def find(name: str) -> Any:
        if renamed and name in renamed:
            deprecated(f"{package}.{name}", f"{package}.{renamed[name]}")
            return getattr(sys.modules[package], renamed[name])
        if name in modules:
            return importlib.import_module(f"{package}.{name}")
        if name not in home:
            raise AttributeError(f"module '{package}' has no attribute '{name}'")
        module, path = home[name], f"{package}.{home[name]}"
        if extras and module in extras:
            with _advice(f"{package}.{name}", extras[module]):  # the module's own names may be imported on use, too
                return getattr(importlib.import_module(path), name)
        return getattr(importlib.import_module(path), name)

    return find


def need(module: str, *, what: str, extra: str) -> ModuleType:
    """Return a module that an extra of slopewise installs, or raise an error that names the extra.

    Example:
        >>> need("elsewhere", what="sinks.Elsewhere", extra="trackers")
        Traceback (most recent call last):
        ModuleNotFoundError: sinks.Elsewhere needs 'elsewhere': pip install 'slopewise[trackers]'
    """
    with _advice(what, extra):
        return importlib.import_module(module)


@contextmanager
def _advice(what: str, extra: str) -> Iterator[None]:
    """Turn the lack of a module within the block into an error that says which extra brings it."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("slopewise"):
            raise
        message = f"{what} needs '{error.name}': pip install 'slopewise[{extra}]'"
        raise ModuleNotFoundError(message, name=error.name) from error
