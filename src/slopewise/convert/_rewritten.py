"""Modules whose methods are rewritten, while the object, its attributes and the rest of its class stay.

The object's class becomes a subclass that is created here. The subclass is determined by text alone, so that copies,
pickles and other processes can create it again.
"""

from __future__ import annotations

import importlib
import itertools
import linecache
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import CodeType, FunctionType, ModuleType
from typing import Any

from torch import nn

# Annotations are kept as text, since the names in them need not exist where the text is compiled.
_FLAGS = __import__("__future__").annotations.compiler_flag
_numbers = itertools.count(1)
_classes: dict[tuple[type[nn.Module], tuple[Method, ...]], type[nn.Module]] = {}


class CannotRewriteError(Exception):
    """Reason for which a module cannot be rewritten, in words."""


@dataclass(frozen=True)
class Method:
    """A method with new source.

    Attributes:
        name: Name of the method.
        text: Source of the method, beginning with `def`.
        names: Values of its global names; None for those of the replaced method, whose closure and default values it
            then has as well.
    """

    name: str
    text: str
    names: Mapping[str, Any] | None = field(default=None, compare=False)

    def __deepcopy__(self, memo: object) -> Method:
        return self

    def __getstate__(self) -> dict[str, Any]:
        names = self.names and {name: _Module.named(value) for name, value in self.names.items()}
        return {"name": self.name, "text": self.text, "names": names}

    def __setstate__(self, state: dict[str, Any]) -> None:
        names = state["names"] and {name: _Module.meant(value) for name, value in state["names"].items()}
        self.__dict__.update(state, names=names)


@dataclass(frozen=True)
class _Module:
    """A Python module in a pickle, which cannot hold the module itself."""

    name: str

    @staticmethod
    def named(value: Any) -> Any:
        return _Module(value.__name__) if isinstance(value, ModuleType) else value

    @staticmethod
    def meant(value: Any) -> Any:
        return importlib.import_module(value.name) if isinstance(value, _Module) else value


def add_(module: nn.Module, attribute: str, new: nn.Module) -> None:
    """Add a submodule to a module that is going to be rewritten; in a Sequential, it becomes no further step."""
    # The original steps are kept by name, since `_modules`, over which a Sequential iterates, gets the new one.
    if isinstance(module, nn.Sequential) and "_steps" not in vars(module):
        module._steps = tuple(module._modules)  # type: ignore[assignment]
    module.add_module(attribute, new)


def rewrite_(module: nn.Module, method: Method) -> None:
    """Replace one method of a module, and leave hooks, parameters and submodules as they are.

    The class of the object is changed. A method set on the object itself would stay bound to it in shallow copies, such
    as the replicas of DataParallel, which would then run with its weights.
    """
    base: type[nn.Module] = getattr(type(module), "_rewritten_from", type(module))
    kept = tuple(m for m in getattr(type(module), "_methods", ()) if m.name != method.name)
    module.__class__ = rewritten_class(base, (*kept, method))


def rewritten_class(base: type[nn.Module], methods: tuple[Method, ...]) -> type[nn.Module]:
    """Return the subclass of a class with some methods replaced; the same class for the same methods."""
    key = (base, methods)
    if key not in _classes:
        body: dict[str, Any] = {method.name: _function(base, method) for method in methods}
        body |= {"_rewritten_from": base, "_methods": methods, "__reduce_ex__": _reduce}
        if issubclass(base, nn.Sequential):
            body |= {"__iter__": _iterate_steps, "__len__": lambda module: len(module._steps)}
        body |= {"__module__": base.__module__, "__qualname__": base.__qualname__, "__doc__": base.__doc__}
        _classes[key] = type(base.__name__, (base,), body)
    return _classes[key]


def _iterate_steps(module: Any) -> Iterator[nn.Module]:
    return (module._modules[name] for name in module._steps)


def _reduce(module: nn.Module, protocol: int) -> tuple[Any, ...]:  # noqa: ARG001 - pickle's signature
    cls: Any = type(module)
    return _restored, (cls._rewritten_from, cls._methods), module.__getstate__()


def _restored(base: type[nn.Module], methods: tuple[Method, ...]) -> nn.Module:
    cls = rewritten_class(base, methods)
    return cls.__new__(cls)


def _function(base: type[nn.Module], method: Method) -> FunctionType:
    original: FunctionType = getattr(base, method.name)
    # Tracebacks and inspect.getsource look the text up in linecache.
    file = f"<{base.__module__}.{base.__qualname__}.{method.name}, rewritten {next(_numbers)}>"
    linecache.cache[file] = (len(method.text), None, method.text.splitlines(keepends=True), file)
    if method.names is not None:
        namespace: dict[str, Any] = {}
        exec(compile(method.text, file, "exec", _FLAGS, dont_inherit=True), dict(method.names), namespace)  # noqa: S102
        return namespace[method.name]  # type: ignore[no-any-return]
    cells = dict(zip(original.__code__.co_freevars, original.__closure__ or (), strict=True))
    # Compiled inside a function with parameters of these names, the method has the same free variables as before; among
    # them `__class__`, which super() needs.
    lines = method.text.splitlines(keepends=True)
    wrapped = f"def around({', '.join(cells)}):\n" + "".join(f" {line}" for line in lines)
    linecache.cache[file] = (len(wrapped), None, wrapped.splitlines(keepends=True), file)
    code = _inner(_inner(compile(wrapped, file, "exec", _FLAGS, dont_inherit=True), "around"), method.name)
    closure = tuple(cells[name] for name in code.co_freevars)
    function = FunctionType(code, original.__globals__, method.name, original.__defaults__, closure)
    function.__kwdefaults__, function.__doc__ = original.__kwdefaults__, original.__doc__
    function.__qualname__ = original.__qualname__
    return function


def _inner(code: CodeType, name: str) -> CodeType:
    return next(item for item in code.co_consts if isinstance(item, CodeType) and item.co_name == name)
