"""`module:callable` references, by which a spec names a user's own model, data or activation."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import Any

from slopewise.errors import SpecError, as_reference, closest

_REFERENCE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


def is_reference(text: str) -> bool:
    """Return True if the text has the form `package.module:callable`."""
    return _REFERENCE.fullmatch(text) is not None


def resolve(reference: str) -> Callable[..., Any]:
    """Import the callable that a reference names.

    Raises:
        SpecError: The module cannot be imported, or has no such callable.

    Example:
        >>> resolve("torch.nn:Hardswish").__name__
        'Hardswish'
    """
    module_name, _, path = reference.partition(":")
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # a user's module can raise anything while it is imported
        meant = as_reference(reference) if module_name.endswith(".py") else None
        hint = f"; did you mean '{meant}', the module without .py?" if meant else ""
        if not hint and isinstance(error, ModuleNotFoundError) and error.name == module_name.partition(".")[0]:
            hint = f": its file must lie where the command runs ({Path.cwd()}), beside the script, or on PYTHONPATH"
        raise SpecError(f"cannot import module '{module_name}' of '{reference}': {describe(error)}{hint}") from error
    try:
        target = reduce(getattr, path.split("."), module)
    except AttributeError as error:
        close = closest(path, [name for name, value in vars(module).items() if callable(value)])
        hint = f"; did you mean '{module_name}:{close[0]}'?" if close else ""
        raise SpecError(f"module '{module_name}' has no '{path}' (from '{reference}'){hint}") from error
    if not callable(target):
        raise SpecError(f"'{reference}' is a {type(target).__name__}, not a callable")
    return target


def reference_to(target: str | Callable[..., Any]) -> str:
    """Return the reference of a callable, by which worker processes can import it.

    Raises:
        SpecError: The callable is a lambda, a nested function, or defined in `__main__`, so that other processes
            cannot import it.

    Example:
        >>> import torch
        >>> reference_to(torch.nn.Hardswish)
        'torch.nn.modules.activation:Hardswish'
    """
    if isinstance(target, str):
        return target
    module, name = getattr(target, "__module__", None), getattr(target, "__qualname__", "<unnamed>")
    if module in (None, "__main__") or "<" in name:
        raise SpecError(
            f"{target!r} cannot be imported by worker processes: define it at the top level of a module "
            "other than the script itself, or name it 'module:callable'"
        )
    return f"{module}:{name}"


def describe(error: BaseException) -> str:
    """Return an exception in one line: its type and the first line of its message."""
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
