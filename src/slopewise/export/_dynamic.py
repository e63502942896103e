"""Free dimensions of the inputs: from the user's `dynamic_shapes`, for torch.export, and in the exported program."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.export import Dim

from slopewise.errors import ExportError, nearest
from slopewise.export._call import Call, Dimension

BATCH = "batch"
DynamicShapes = Mapping[str, Any] | Sequence[Any]


def freed(model: torch.nn.Module, call: Call, dynamic_shapes: DynamicShapes | None, *, dynamic_batch: bool) -> Call:
    """Return the call with its free dimensions: those in `dynamic_shapes`, and every dimension 0 that is the batch."""
    given: dict[int, Mapping[int, Dimension | None]] = {}
    if dynamic_shapes is not None:
        for name, tensor, spec in _specs(_arguments(model, call), dynamic_shapes):
            dims = _by_dimension(name, tensor, spec)
            given[id(tensor)] = {place: _dimension(value, name, place) for place, value in dims.items()}
    free = []
    for tensor in call.tensors:
        is_batched = dynamic_batch and tensor.ndim and len(tensor) == call.size
        batch = {0: Dimension(BATCH)} if is_batched else {}
        dims = batch | dict(given.get(id(tensor), {}))
        free.append({place: dimension for place, dimension in sorted(dims.items()) if dimension is not None})
    call = dataclasses.replace(call, free=free)
    if dynamic_batch and not any(0 in dims for dims in free):
        raise ExportError("no input has a dimension for the batch: pass dynamic_batch=False")
    for tensor, named in zip(call.tensors, free, strict=True):
        for place, dimension in named.items():
            if tensor.shape[place] != call.sizes[dimension.name]:
                raise ValueError(
                    f"'{dimension.name}' in dynamic_shapes is {tensor.shape[place]} in one input and "
                    f"{call.sizes[dimension.name]} in another: give them two names"
                )
    return call


def _arguments(model: torch.nn.Module, call: Call) -> dict[str, Any]:
    return dict(inspect.signature(model.forward).bind(*call.args, **call.kwargs).arguments)


def _specs(arguments: Mapping[str, Any], shapes: DynamicShapes) -> Iterator[tuple[str, Tensor, Any]]:
    if not isinstance(shapes, Mapping):
        if isinstance(shapes, str) or len(shapes) != len(arguments):
            raise ValueError(f"dynamic_shapes has {len(shapes)} entries for the {len(arguments)} inputs: one for each")
        shapes = dict(zip(arguments, shapes, strict=True))
    for name in shapes:
        if name not in arguments:
            raise ValueError(f"dynamic_shapes names '{name}', which is no input: {nearest(str(name), arguments)}")
    for name, spec in shapes.items():
        yield from _within(name, arguments[name], spec)


def _within(place: str, value: Any, spec: Any) -> Iterator[tuple[str, Tensor, Any]]:
    if spec is None:
        return
    if isinstance(value, Tensor):
        yield place, value, spec
    elif isinstance(value, Mapping) and isinstance(spec, Mapping) and set(spec) <= set(value):
        for key, inner in spec.items():
            yield from _within(f"{place}[{key!r}]", value[key], inner)
    elif isinstance(value, list | tuple) and isinstance(spec, list | tuple) and len(spec) == len(value):
        for number, (item, inner) in enumerate(zip(value, spec, strict=True)):
            yield from _within(f"{place}[{number}]", item, inner)
    else:
        raise ValueError(f"dynamic_shapes of '{place}' has another structure than that input, {type(value).__name__}")


def _by_dimension(place: str, tensor: Tensor, spec: Any) -> dict[int, Any]:
    if isinstance(spec, list | tuple) and len(spec) == tensor.ndim:
        spec = dict(enumerate(spec))
    shape = tuple(tensor.shape)
    if not isinstance(spec, Mapping) or not all(isinstance(key, int) for key in spec):
        raise ValueError(f"dynamic_shapes of '{place}' must be a dict {{dimension: name}}, such as {{2: 'height'}}")
    for key, value in spec.items():
        if not -tensor.ndim <= key < tensor.ndim:
            raise ValueError(f"dynamic_shapes names dimension {key} of '{place}', which has shape {shape}")
        if isinstance(value, int) and value != shape[key]:
            raise ValueError(f"dynamic_shapes fixes dimension {key} of '{place}' at {value}, and it is {shape[key]}")
    return {key % tensor.ndim: value for key, value in spec.items()}


def _dimension(value: Any, name: str, place: int) -> Dimension | None:
    if value is None or isinstance(value, int):
        return None
    if isinstance(value, str) and value.isidentifier():
        return Dimension(value)
    if isinstance(value, type(Dim.AUTO)):
        return None if value.type is Dim.STATIC.type else Dimension(f"{name}_dim_{place}", value)
    if isinstance(value, Dim):  # as a hint, under which torch.export may find that a size is twice another
        low, high = getattr(value, "min", None), getattr(value, "max", None)
        bounds = {"min": low or None, "max": high if isinstance(high, int) else None}
        return Dimension(value.__name__, Dim.DYNAMIC(**bounds) if any(bounds.values()) else Dim.DYNAMIC)
    raise ValueError(
        f"{value!r} in dynamic_shapes is neither a name, nor a torch.export.Dim, nor None for a fixed size"
    )


def names_of(shapes: Iterable[Sequence[Any]], call: Call) -> dict[str, str]:
    """Return the name of each symbol in the shapes of a graph's inputs; a symbol with two names gets the first."""
    names: dict[str, str] = {}
    for shape, dims in zip(shapes, call.free, strict=True):
        for place, dimension in dims.items():
            if not isinstance(shape[place], int):
                names.setdefault(str(shape[place]), dimension.name)
    return names


def renamed(shape: Iterable[Any], names: Mapping[str, str]) -> tuple[int | str, ...]:
    """Return a shape with names for symbols: (s77, 2*s53) as ("batch", "2*height").

    Example:
        >>> renamed((4, "s77", "2*s53"), {"s77": "batch", "s53": "height"})
        (4, 'batch', '2*height')
    """
    pattern = re.compile(rf"\b({'|'.join(map(re.escape, names))})\b") if names else None

    def one(size: Any) -> int | str:
        if isinstance(size, int) or pattern is None:
            return size if isinstance(size, int) else str(size)
        return pattern.sub(lambda match: names[match.group()], str(size))

    return tuple(map(one, shape))
