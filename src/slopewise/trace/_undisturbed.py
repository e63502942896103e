"""Models that are as they were after a run: attributes, buffers, training modes and random states."""

from __future__ import annotations

import random
import sys
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from types import CellType, FunctionType, MethodType
from typing import Any

import torch
from torch import Tensor, nn

from slopewise.trace._data import tensors_in

_Restore = Callable[[], object]

# Objects of these packages hold no results of a forward pass, or keep their state in step with something outside.
_LEFT_ALONE = (sys.stdlib_module_names | {"torch", "slopewise"}) - {"types", "collections", "__main__"}
_ATOMS = (str, int, float, type, nn.Parameter)
# Sharded parameters come and go with a state that is kept elsewhere, so a module's parameters stay as they are found.
_PARAMETERS = "_parameters"
# A module may refer to a trainer, and that to a data set: of tensors that are no buffers, values of so many bytes are
# kept, and of the others whether they have a graph.
_MOST = 2**26
_MISSING = object()
_HOOKS = frozenset(name for name in vars(nn.Module()) if "hooks" in name)


@contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """Put a model back, after the block, into the state that it had before.

    Training modes, buffers, attributes of modules, the contents of the lists, dicts and objects that these hold, and
    the random states of PyTorch, Python and NumPy are put back. From the variables of hooks, only tensors that the pass
    left there are removed: other things that hooks count or write are theirs. Values of parameters and their gradients
    are not put back.

    Args:
        model: Any module.
    """
    buffers, budget, restores = {id(buffer) for buffer in model.buffers()}, _MOST, []
    for obj, outside in _objects_with_side(model):
        if isinstance(obj, Tensor):
            size = 0 if id(obj) in buffers else obj.numel() * obj.element_size()
            budget -= size
            restore = _keep_tensor(obj, values=size == 0 or budget >= 0)
        else:
            restore = _kind_of(obj).keep(obj)
            if restore is not None and outside:
                restore = partial(_if_it_got_tensors, obj, set(map(id, _tensors_of(obj))), restore)
        if restore is not None:
            restores.append(restore)
    draws = [_keep_draws(name) for name in ("random", "numpy.random") if name in sys.modules]
    try:
        with torch.random.fork_rng():
            yield
    finally:
        with torch.no_grad():
            for restore in (*restores, *draws):
                restore()


def held_by(model: nn.Module) -> Iterator[Any]:
    """Yield every object that a forward pass may change in a model, once each: modules, tensors, containers, others.

    Parameters are left out. Closures and bound methods, such as hooks, are searched, too.

    Args:
        model: Any module.

    Example:
        >>> class Net(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.kept = {"features": [torch.ones(2)]}
        >>> [obj for obj in held_by(Net()) if isinstance(obj, torch.Tensor)]
        [tensor([1., 1.])]
    """
    return (obj for obj, _ in _objects_with_side(model))


def _objects_with_side(model: nn.Module) -> Iterator[tuple[Any, bool]]:
    """Yield the objects of `held_by`, each with whether only a function leads there."""
    seen: dict[int, Any] = {}
    inside: list[Any] = [model]
    outside: list[Any] = []
    while inside or outside:
        is_outside = not inside
        obj = inside.pop() if inside else outside.pop()
        if obj is None or isinstance(obj, _ATOMS) or id(obj) in seen:
            continue
        seen[id(obj)] = obj  # kept, so that nothing else gets its id
        kind = _kind_of(obj)
        if kind is not _SKIPPED:
            yield obj, is_outside
            (outside if is_outside or kind.function else inside).extend(kind.parts(obj))


@dataclass(frozen=True)
class _Kind:
    """Treatment of objects of some types.

    Attributes:
        types: Classes of the objects.
        parts: Function that returns the objects that one holds.
        keep: Function that returns a way to put one back as it is now; None where nothing can change.
        function: True if it holds values that a function uses.
    """

    types: tuple[type, ...]
    parts: Callable[[Any], Iterable[Any]]
    keep: Callable[[Any], _Restore | None] = lambda _: None
    function: bool = False


def _kind_of(obj: Any) -> _Kind:
    return _kind(type(obj))  # type: ignore[arg-type]  # for mypy a class may have no hash


@cache
def _kind(cls: type) -> _Kind:
    for kind in _KINDS:
        if issubclass(cls, kind.types):
            return kind
    return _SKIPPED if cls.__module__.partition(".")[0] in _LEFT_ALONE else _OBJECT


def _module_items(module: nn.Module) -> dict[str, Any]:
    return {name: item for name, item in vars(module).items() if name != _PARAMETERS}


def _parts_of_function(function: FunctionType) -> Iterable[Any]:
    if (function.__module__ or "").partition(".")[0] in _LEFT_ALONE:
        return ()
    return (*(function.__closure__ or ()), *(function.__defaults__ or ()), function.__kwdefaults__)


def _attributes(obj: Any) -> dict[str, Any]:
    own = getattr(obj, "__dict__", None)
    attributes = dict(own) if isinstance(own, dict) else {}
    for base in type(obj).__mro__:
        slots = vars(base).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if not name.startswith("__") and hasattr(obj, name):
                attributes[name] = getattr(obj, name)
    return attributes


def _contents(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # a variable that has no value yet
        return None


def _keep_tensor(tensor: Tensor, *, values: bool) -> _Restore | None:
    # A result with a graph is held, never written to; inference tensors cannot be written to outside inference mode.
    if tensor.grad_fn is not None or tensor.is_inference() or tensor.is_nested:
        return None
    copy, requires_grad = tensor.detach().clone() if values else None, tensor.requires_grad

    def restore() -> None:
        if tensor.grad_fn is not None and not tensor._is_view():
            tensor.detach_()
        if tensor.is_leaf and tensor.requires_grad is not requires_grad:
            tensor.requires_grad_(requires_grad)
        if copy is None:
            return
        if tensor.shape == copy.shape:
            tensor.copy_(copy)
        else:  # resized in place
            tensor.data = copy

    return restore


def _tensors_of(obj: Any) -> list[Tensor]:
    return list(tensors_in(list(_kind_of(obj).parts(obj))))


def _if_it_got_tensors(obj: Any, before: set[int], restore: _Restore) -> None:
    if any(id(tensor) not in before for tensor in _tensors_of(obj)):
        restore()


def _refill_dict(entries: dict[Any, Any], saved: dict[Any, Any]) -> None:
    if len(entries) == len(saved) and all(
        a is b and entries[a] is saved[b] for a, b in zip(entries, saved, strict=True)
    ):
        return
    base = OrderedDict if isinstance(entries, OrderedDict) else dict  # not what a subclass makes of them
    base.clear(entries)
    for key, value in saved.items():
        base.__setitem__(entries, key, value)


def _refill(items: set[Any] | deque[Any], saved: list[Any]) -> None:
    items.clear()
    items.update(saved) if isinstance(items, set) else items.extend(saved)


def _refill_attributes(obj: Any, saved: dict[str, Any]) -> None:
    own = getattr(obj, "__dict__", {})
    for name in [name for name in own if name not in saved and name != _PARAMETERS]:
        del own[name]
    for name, item in saved.items():
        if name in own:
            own[name] = item
        elif getattr(obj, name, _MISSING) is not item:  # a slot, or deleted
            object.__setattr__(obj, name, item)


def _without_hooks(module: nn.Module) -> list[dict[Any, Any]]:
    """Return the dicts of hooks that are empty, which are nearly all, so that they need not be kept one by one."""
    return [hooks for name, hooks in vars(module).items() if name in _HOOKS and not hooks]


def _refill_module(module: nn.Module, saved: dict[str, Any], empty: list[dict[Any, Any]]) -> None:
    _refill_attributes(module, saved)
    for hooks in empty:  # a first pass may register some, and a note elsewhere that it did
        hooks.clear()


def _refill_cell(cell: CellType, contents: Any) -> None:
    cell.cell_contents = contents


def _keep_draws(module: str) -> _Restore:
    if module == "random":
        return partial(random.setstate, random.getstate())
    numpy: Any = sys.modules[module]
    return partial(numpy.set_state, numpy.get_state())


_KINDS = (
    _Kind((Tensor,), lambda _: ()),
    _Kind((torch.Generator,), lambda _: (), lambda draws: partial(draws.set_state, draws.get_state())),
    _Kind((dict,), dict.values, lambda items: partial(_refill_dict, items, dict(items))),
    _Kind((list,), lambda items: items, lambda items: partial(list.__setitem__, items, slice(None), list(items))),
    _Kind((set, deque), lambda items: items, lambda items: partial(_refill, items, list(items))),
    _Kind((tuple, frozenset), lambda items: items),
    _Kind((CellType,), lambda cell: [_contents(cell)], lambda cell: partial(_refill_cell, cell, _contents(cell))),
    _Kind((FunctionType,), _parts_of_function, function=True),
    _Kind((MethodType,), lambda method: [method.__self__, method.__func__], function=True),
    _Kind((partial,), lambda call: [call.func, *call.args, call.keywords], function=True),
    _Kind(
        (torch.jit.ScriptModule,),
        lambda module: [*module.buffers(recurse=False), *module.children()],
        lambda module: partial(setattr, module, "training", module.training),
    ),
    _Kind(
        (nn.Module,),
        lambda module: [item for name, item in _module_items(module).items() if name not in _HOOKS or item],
        lambda module: partial(_refill_module, module, _module_items(module), _without_hooks(module)),
    ),
)
_OBJECT = _Kind(
    (object,),
    lambda obj: _attributes(obj).values(),
    lambda obj: partial(_refill_attributes, obj, _attributes(obj)),
)
_SKIPPED = _Kind((), lambda _: ())
