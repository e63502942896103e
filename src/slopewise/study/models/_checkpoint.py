"""A checkpoint as the start of every trial: read, told by its content, and loaded whole or not at all."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any

from torch import Tensor, nn

from slopewise.checkpoint import CheckpointError, load_state_dict, strip_prefixes
from slopewise.errors import ModelError, SpecError, nearest
from slopewise.study._spec import ModelSpec
from slopewise.study.models._built import digest

_SHOWN = 4


def checkpoint_facts(spec: ModelSpec) -> dict[str, Any]:
    """SHA-256 of a checkpoint's names and tensors, which tells it wherever it lies; nothing where there is none.

    Raises:
        ModelError: the file is missing, or holds no state dict, or several.
    """
    if spec.checkpoint is None:
        return {}
    total = hashlib.sha256()
    for name, tensor in sorted(_read(spec).items()):
        total.update(f"{name}\0{tensor.dtype}\0{digest([tensor])}\0".encode())
    return {"checkpoint_digest": total.hexdigest()}


def load_checkpoint_(model: nn.Module, spec: ModelSpec, sites: Iterable[str] = ()) -> None:
    """Load a spec's checkpoint, if it has one, into a model.

    All of the model's tensors must be there, in their shapes, and no others, but for names that match a pattern of
    `checkpoint_skip`: those tensors of the model stay as they are.

    Args:
        model: changed.
        spec: has the checkpoint.
        sites: names of the arm's activations, whose tensors are not the checkpoint's to set.

    Raises:
        ModelError: the checkpoint cannot be read, or does not fit; the message names the tensors.
        SpecError: a pattern matches nothing.
    """
    if spec.checkpoint is None:
        return
    own = {name: value for name, value in model.state_dict().items() if isinstance(value, Tensor)}
    tensors = _read(spec)
    if not own.keys() & tensors.keys():  # a LightningModule calls its network so
        tensors = strip_prefixes(tensors, ("module.", "model."))
    for pattern in spec.checkpoint_skip:
        if not any(fnmatchcase(name, pattern) for name in (*own, *tensors)):
            raise SpecError(f"model.checkpoint_skip: '{pattern}' matches no tensor; {nearest(pattern, own)}")
    left_out = (*spec.checkpoint_skip, *(f"{site}.*" for site in sites))
    given = {name: t for name, t in tensors.items() if not any(fnmatchcase(name, pattern) for pattern in left_out)}
    other_shape = [name for name, t in given.items() if name in own and t.shape != own[name].shape]
    found = model.load_state_dict({name: t for name, t in given.items() if name not in other_shape}, strict=False)
    missing = [
        name
        for name in found.missing_keys
        if name not in other_shape and not any(fnmatchcase(name, pattern) for pattern in left_out)
    ]
    faults = [f"{name} is {tuple(given[name].shape)} there and {tuple(own[name].shape)} here" for name in other_shape]
    faults = [_listing(faults)] if faults else []
    faults += [f"it lacks {_listing(missing)}"] if missing else []
    faults += [f"it has besides {_listing(found.unexpected_keys)}"] if found.unexpected_keys else []
    if faults:
        wrong = [*other_shape, *missing, *found.unexpected_keys]
        raise ModelError(
            f"model.checkpoint: '{spec.checkpoint}' does not fit model '{spec.name}': {'; '.join(faults)}. "
            + _advice(wrong, matching=len(given.keys() & own.keys()) - len(other_shape))
        )


def _read(spec: ModelSpec) -> dict[str, Tensor]:
    assert spec.checkpoint is not None  # noqa: S101 - for the type checker
    try:
        return strip_prefixes(load_state_dict(spec.checkpoint, spec.checkpoint_key))
    except CheckpointError as error:
        raise ModelError(f"model.checkpoint: {error}") from error


def _advice(wrong: list[str], matching: int) -> str:
    if matching < len(wrong):
        return "It seems to be of another network"
    holders = dict.fromkeys(f"{name.rpartition('.')[0]}.*" if "." in name else name for name in wrong)
    patterns = ", ".join(f'"{holder}"' for holder in holders)
    return f"To start without these tensors: model.checkpoint_skip = [{patterns}]"


def _listing(items: list[str]) -> str:
    return ", ".join(items[:_SHOWN]) + (f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else "")
