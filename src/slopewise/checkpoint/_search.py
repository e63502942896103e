"""Search for the state dicts in a file's content, where training scripts put them in many places."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from slopewise.checkpoint._pickle import Record
from slopewise.checkpoint._tensors import SavedTensor, Unread, described, members

_OF_LAYERS = {"weight", "bias", "slope", "running_mean", "running_var", "alpha", "gamma", "beta"}
_OF_OPTIMIZERS = {
    "exp_avg", "exp_avg_sq", "max_exp_avg_sq", "exp_inf", "exp_avg_diff", "momentum_buffer", "square_avg", "grad_avg",
    "acc_delta", "sum", "prev", "step_size", "step",
}  # fmt: skip
MOST_MODULES = 100_000
_PLAIN = (str, int, float, bool, type(None))


@dataclass(frozen=True)
class StateDictInFile:
    """A mapping of names to tensors.

    Attributes:
        path: Keys that lead to it.
        tensors: Its tensors, by name.
        unread: Descriptions of the tensors that cannot be read, by name.
        metadata: Versions of the modules that wrote it, by their names; None if the file has none.
        rank: Preference among several state dicts: 2 for a mapping with the names of parameters, 1 for a pickled
            module, 0 for other names.
    """

    path: tuple[str, ...]
    tensors: Mapping[str, Tensor | SavedTensor]
    unread: Mapping[str, str] = field(default_factory=dict)
    metadata: dict[str, dict[str, Any]] | None = None
    rank: int = 2


def state_dicts(content: Any) -> list[StateDictInFile]:
    """Return the state dicts of a file's content, in its order.

    A state dict is a mapping in which a tensor with a dimension has a name with a dot, or of which at least half the
    entries are tensors. A whole pickled module counts as its `state_dict()`. Optimizers are not searched. Mappings of
    other values above a state dict (scores, class weights) do not count, unless their names are those of parameters.
    """
    candidates = list(_search(content))
    ranked = [candidate.path for candidate in candidates if candidate.rank]

    def above(candidate: StateDictInFile) -> bool:
        return any(path != candidate.path and path[: len(candidate.path)] == candidate.path for path in ranked)

    return [candidate for candidate in candidates if _dotted(candidate.tensors) or not above(candidate)]


def _search(content: Any) -> Iterator[StateDictInFile]:
    seen: set[int] = set()
    known: dict[int, Tensor | SavedTensor | Unread | None] = {}  # one record with two names is one tensor

    def tensor(value: Any) -> Tensor | SavedTensor | Unread | None:
        if not isinstance(value, Record):
            return value if isinstance(value, Tensor) else None
        if id(value) not in known:
            known[id(value)] = described(value)
        return known[id(value)]

    waiting: list[tuple[tuple[str, ...], Any]] = [((), content)]
    while waiting:
        path, value = waiting.pop()
        module = _as_module(value)
        items = entries(value) if module is None else dict(_of_module(module, Counter()))
        named = ((name, tensor(item)) for name, item in items.items() if isinstance(name, str))
        tensors = {name: record for name, record in named if record is not None}
        if _is_optimizer(items, tensors):
            continue
        if _is_state_dict(tensors, len(items)):
            rank = 0 if not (_dotted(tensors) or _OF_LAYERS & tensors.keys()) else 2 if module is None else 1
            yield _state_dict(path, tensors, _metadata(value), rank)
        if module is None and id(value) not in seen:
            below = [(name, item) for name, item in items.items() if name not in tensors and _holds(name, item)]
            waiting += [((*path, str(name)), item) for name, item in reversed(below)]
        seen.add(id(value))


def _is_state_dict(tensors: Mapping[str, Tensor | SavedTensor | Unread], entries: int) -> bool:
    return _dotted(tensors) or (2 * len(tensors) >= entries and any(map(_real, tensors.values())))


def _state_dict(
    path: tuple[str, ...],
    records: Mapping[str, Tensor | SavedTensor | Unread],
    metadata: dict[str, dict[str, Any]] | None,
    rank: int,
) -> StateDictInFile:
    tensors = {name: tensor for name, tensor in records.items() if not isinstance(tensor, Unread)}
    unread = {name: tensor.description for name, tensor in records.items() if isinstance(tensor, Unread)}
    return StateDictInFile(path, tensors, unread, metadata, rank)


def _dotted(tensors: Mapping[str, Tensor | SavedTensor | Unread]) -> bool:
    return any("." in name and _real(tensor) for name, tensor in tensors.items())


def _real(tensor: Tensor | SavedTensor | Unread) -> bool:
    """Return False for scores: those that ModelCheckpoint keeps of the best files are tensors by name, too."""
    if isinstance(tensor, Unread):
        return True
    size = tensor.shape if isinstance(tensor, Tensor) else tensor.size
    return len(size) > 0 and tensor.dtype.is_floating_point


def _is_optimizer(entries: Mapping[Any, Any], tensors: Mapping[str, Any]) -> bool:
    return {"state", "param_groups"} <= entries.keys() or (
        bool(tensors) and all(name.rpartition(".")[2] in _OF_OPTIMIZERS for name in tensors)
    )


def _holds(name: Any, value: Any) -> bool:
    return isinstance(value, dict | list | tuple | Record) and not str(name).endswith("_extra_state")


def entries(value: Any) -> Mapping[Any, Any]:
    """Return the items of a container by key or index; for an object, its attributes as well."""
    if isinstance(value, dict):
        return value
    if isinstance(value, list | tuple):
        return dict(enumerate(value))
    if not isinstance(value, Record):
        return {}
    states = value.state if isinstance(value.state, tuple) else (value.state,)  # attributes, and those of slots
    attributes = {name: item for state in states if isinstance(state, dict) for name, item in state.items()}
    attributes.pop("_metadata", None)
    pairs = [pair for pair in members(value) if isinstance(pair, list | tuple) and len(pair) == 2]
    by_pairs = {key: item for key, item in pairs if isinstance(key, str)}
    return {**attributes, **by_pairs, **(dict(enumerate(value.values)) if not by_pairs else {}), **value.items}


def _as_module(value: Any) -> Mapping[str, Any] | None:
    """Return the attributes of a pickled module, or None if the value is not a module."""
    if not isinstance(value, Record) or not isinstance(value.state, dict):
        return None
    return value.state if {"_parameters", "_buffers", "_modules"} <= value.state.keys() else None


def _of_module(
    module: Mapping[str, Any], visits: Counter[str], prefix: str = "", above: tuple[int, ...] = ()
) -> Iterator[tuple[str, Any]]:
    """Yield the parameters and persistent buffers of a pickled module and its submodules, in order of state_dict().

    Raises:
        ValueError: There are too many: modules in modules that are all used twice are twice as many at every level.
    """
    visits["modules"] += 1
    if visits["modules"] > MOST_MODULES:
        raise ValueError(f"a module with more than {MOST_MODULES:,} modules in it")
    skip = set(members(module.get("_non_persistent_buffers_set")))
    for kind in ("_parameters", "_buffers"):
        for name, value in entries(module[kind]).items():
            if value is not None and not (kind == "_buffers" and name in skip):
                yield f"{prefix}{name}", value
    for name, value in entries(module["_modules"]).items():
        inner = _as_module(value)
        if inner is not None and id(inner) not in above:
            yield from _of_module(inner, visits, f"{prefix}{name}.", (*above, id(inner)))


def _metadata(value: Any) -> dict[str, dict[str, Any]] | None:
    """Return the plain values of a state dict's `_metadata`, or None if it has none."""
    state = value.state if isinstance(value, Record) else None
    saved = state.get("_metadata") if isinstance(state, dict) else None
    if saved is None:
        return None
    return {
        module: {key: item for key, item in entries(facts).items() if isinstance(item, _PLAIN)}
        for module, facts in entries(saved).items()
        if isinstance(module, str)
    }
