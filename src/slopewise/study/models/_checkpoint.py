"""Checkpoints with the initial weights of every trial: identified by content, and loaded whole or not at all."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from torch import Tensor, nn

from slopewise.checkpoint import (
    AVERAGED,
    CheckpointError,
    StateDict,
    below,
    metadata_of,
    read_checkpoint,
    strip_prefixes,
)
from slopewise.errors import ModelError, SpecError, nearest
from slopewise.modules import aliases, without_wrappers
from slopewise.study._spec_tables import ModelSpec
from slopewise.study.models._built import digest
from slopewise.study.models._fit import is_beside, likeliest, prefixes

_SHOWN = 4


def checkpoint_facts(spec: ModelSpec) -> dict[str, Any]:
    """Return the SHA-256 of a checkpoint's names and tensors, which identifies it in any place; {} without one.

    Raises:
        ModelError: The file is missing, or holds no state dict, or several.
    """
    if spec.checkpoint is None:
        return {}
    total = hashlib.sha256()
    for name, tensor in sorted(_read(spec).items()):
        total.update(f"{name}\0{tensor.dtype}\0{digest([tensor])}\0".encode())
    return {"checkpoint_digest": total.hexdigest()}


def load_checkpoint_(model: nn.Module, spec: ModelSpec, sites: Iterable[str] = ()) -> tuple[str, ...]:
    """Load a spec's checkpoint, if it has one, into a model.

    The file must hold all of the model's tensors, in their shapes and under one of their names. The exceptions are
    tensors whose names match a pattern of `checkpoint_skip`: they stay unchanged. If the network is a part of the
    saved object, its names have a prefix in the file, which is inferred as the one under which they fit. Entries
    outside the prefix, and those that belong to losses, metrics or copies of the network by their names, are not
    loaded, and notes list them. Other entries are an error.

    Args:
        model: Model to change.
        spec: Spec of the model, which names the checkpoint.
        sites: Names of the arm's activations, whose tensors the checkpoint does not set.

    Returns:
        Notes about the entries that were not loaded.

    Raises:
        ModelError: The checkpoint cannot be read, does not fit (the message names the tensors), or fits under several
            prefixes.
        SpecError: A pattern or prefix matches nothing.
    """
    if spec.checkpoint is None:
        return ()
    tensors, own, skip = _read(spec), _Own(model), (*spec.checkpoint_skip, *(f"{site}.*" for site in sites))
    prefix, others = _prefix(spec, own, tensors, skip)
    inside = {name: own.name(name.removeprefix(prefix)) for name in tensors if name.startswith(prefix)}
    for pattern in spec.checkpoint_skip:
        if not any(fnmatchcase(name, pattern) for name in (*own.tensors, *inside.values(), *tensors)):
            raise SpecError(f"model.checkpoint_skip: '{pattern}' matches no tensor; {nearest(pattern, own.tensors)}")
    selected = {old: new for old, new in inside.items() if not _matches(new, skip)}
    other_shape = {
        new: f"{new} is {tuple(tensors[old].shape)} there and {tuple(own.tensors[new].shape)} here"
        for old, new in selected.items()
        if new in own.tensors and tensors[old].shape != own.tensors[new].shape
    }
    names = {old: new for old, new in selected.items() if new not in other_shape}
    modules = below(prefix, {name: name for name in metadata_of(tensors) or ()})
    given = tensors.renamed(names, {old: own.module(new) for old, new in modules.items()})
    result = model.load_state_dict(given, strict=False)
    there = {*given, *(other for name in given for other in own.tied.get(name, ()))}
    missing = [n for n in result.missing_keys if n not in other_shape and n not in there and not _matches(n, skip)]
    extra = [name for name in result.unexpected_keys if not is_beside(name.removeprefix(own.prefix))]
    faults = [_listing([*other_shape.values()])] if other_shape else []
    faults += [f"it lacks {_listing(missing)}"] if missing else []
    faults += [f"it has besides {_listing(extra)}"] if extra else []
    if faults:
        where = f", read under '{prefix}'," if prefix else ""
        raise ModelError(
            f"model.checkpoint: '{spec.checkpoint}'{where} does not fit model '{spec.name}': {'; '.join(faults)}. "
            + _advice([*other_shape, *missing, *extra], matching=len(given.keys() & own.tensors.keys()), given=tensors)
        )
    not_loaded = [name for name in tensors if name not in inside or inside[name] in result.unexpected_keys]
    return tuple(_notes(prefix, [name for name in not_loaded if name != AVERAGED], others))


class _Own:
    """The tensors and modules of a model, also by the names that they have without wrappers."""

    def __init__(self, model: nn.Module) -> None:
        self.tensors = {n: t for n, t in model.state_dict(keep_vars=True).items() if isinstance(t, Tensor)}
        self.tied = aliases(self.tensors)
        self.prefix = "module." if all(name.startswith("module.") for name in self.tensors) else ""
        self._names = {self.bare(name): name for name in self.tensors}
        bare = below(self.prefix, {name: without_wrappers(name) for name, _ in model.named_modules()})
        self._modules = {new: old for old, new in bare.items()}

    def bare(self, name: str) -> str:
        return without_wrappers(name).removeprefix(self.prefix)

    def name(self, bare: str) -> str:
        return self._names.get(bare, f"{self.prefix}{bare}")

    def module(self, bare: str) -> str:
        return self._modules.get(bare, bare)


def _prefix(
    spec: ModelSpec, own: _Own, tensors: Mapping[str, Tensor], skip: Sequence[str]
) -> tuple[str, tuple[str, ...]]:
    """Return the prefix of the network's names in the file, and other prefixes that fit as well."""
    needed = {
        own.bare(name): tensor.shape
        for name, tensor in own.tensors.items()
        if not _matches(name, skip) and not name.endswith("num_batches_tracked")  # old BatchNorms had none
    }
    tied = {own.bare(name): tuple(map(own.bare, others)) for name, others in own.tied.items()}
    counts = prefixes(needed, {name: tensor.shape for name, tensor in tensors.items()}, tied=tied)
    if spec.checkpoint_prefix is not None:
        if not any(name.startswith(spec.checkpoint_prefix) for name in tensors):
            raise SpecError(
                f"model.checkpoint_prefix: no tensor begins with '{spec.checkpoint_prefix}'; "
                f"{nearest(spec.checkpoint_prefix, counts)}"
            )
        return spec.checkpoint_prefix, ()
    best = likeliest(counts, len({min((name, *tied.get(name, ()))) for name in needed}))
    if len(best) > 1:
        places = " and under ".join(map(repr, best))
        raise ModelError(
            f"model.checkpoint: '{spec.checkpoint}' fits model '{spec.name}' under {places}: say which, as "
            f'model.checkpoint_prefix = "{best[0]}"'
        )
    return best[0], tuple(prefix for prefix, count in counts.items() if prefix not in best and count == counts[best[0]])


def _notes(prefix: str, not_loaded: Sequence[str], others: Sequence[str]) -> Iterator[str]:
    if not_loaded:
        under = f", read under '{prefix}'" if prefix else ""
        yield f"the checkpoint{under}: left {_listing(not_loaded)}"
    for other in others:
        yield f"the checkpoint fits under '{other}' as well: model.checkpoint_prefix = \"{other}\" starts from that"


def _read(spec: ModelSpec) -> StateDict:
    assert spec.checkpoint is not None  # noqa: S101 - for the type checker
    try:
        return strip_prefixes(
            read_checkpoint(spec.checkpoint, spec.checkpoint_key, option="model.checkpoint_key").tensors
        )
    except CheckpointError as error:
        raise ModelError(f"model.checkpoint: {error}") from error


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _advice(wrong: list[str], *, matching: int, given: Iterable[str]) -> str:
    if any(".lora_" in name for name in given):
        return "It holds adapters of PEFT: save the state dict of model.merge_and_unload() instead"
    if matching < len(wrong):
        return "It seems to be of another network"
    holders = dict.fromkeys(f"{name.rpartition('.')[0]}.*" if "." in name else name for name in wrong)
    patterns = ", ".join(f'"{holder}"' for holder in holders)
    return f"To start without these tensors: model.checkpoint_skip = [{patterns}]"


def _listing(items: Sequence[str]) -> str:
    return ", ".join(items[:_SHOWN]) + (f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else "")
