"""State dicts of the model that was converted: from its names to those of the converted one, and back."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from slopewise.checkpoint import CheckpointError, metadata_of, strip_prefixes


@dataclass(frozen=True)
class Original:
    """Entries of the state dict of the model that was converted.

    Attributes:
        shapes: Shape of each entry by its key, in order; None for an entry that is no tensor.
        slopes: By key of slopes of a PReLU, the keys that hold them in the converted model.
        aliases: By key of a tensor with several, the others.
        metadata: Versions of the modules, as `torch.nn.Module.state_dict` adds them.
    """

    shapes: Mapping[str, torch.Size | None]
    slopes: Mapping[str, tuple[str, ...]]
    aliases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    metadata: Mapping[str, Any] | None = None

    def to_converted(self, state_dict: Mapping[str, Any], own: Mapping[str, Any]) -> OrderedDict[str, Any]:
        """Return a checkpoint of the original under the names of the converted model, whose state dict is `own`.

        Raises:
            RuntimeError: The checkpoint holds state dicts instead of tensors, or has the names of a wrapper.
        """
        state_dict = self._without_wrappers(state_dict)
        given: OrderedDict[str, Any] = OrderedDict()
        for key, value in self._under_all_names(state_dict).items():
            for target in self.slopes.get(key, (key,)):
                fits = target in own and isinstance(value, Tensor) and key in self.slopes
                given[target] = _as_many(value, own[target].numel()) if fits else value
        # Versions of the modules that wrote the checkpoint, for which load_state_dict() has no argument: without them,
        # modules take it for one of their first version, and may convert or miss keys.
        _set_metadata(given, metadata_of(state_dict))
        return given

    def from_converted(self, own: Mapping[str, Any]) -> tuple[OrderedDict[str, Any], list[str], list[str]]:
        """Return a state dict of the original with the values of the converted model's, and where it is not whole.

        Several slopes that were one become their mean.

        Returns:
            State dict, keys of slopes that the mean changes, and keys that are left out because the converted model has
            no value for them.
        """
        values: OrderedDict[str, Any] = OrderedDict()
        unlike, lacking = [], []
        for key, shape in self.shapes.items():
            if key not in self.slopes:
                if key in own:
                    values[key] = own[key]
                else:
                    lacking.append(key)
                continue
            names = (name for alias in (key, *self.aliases.get(key, ())) for name in self.slopes.get(alias, ()))
            slopes = [own[name].flatten() for name in dict.fromkeys(names) if name in own]
            if not slopes or shape is None:
                lacking.append(key)
                continue
            several = [_as_many(some, shape.numel()) for some in slopes] if shape.numel() > 1 else [*torch.cat(slopes)]
            rows = torch.stack([row.reshape(shape) for row in several])
            same = bool((rows == rows[0]).all())
            values[key] = (rows[0] if same else rows.mean(0)).clone()
            if not same:
                unlike.append(key)
        _set_metadata(values, self.metadata)
        return values, unlike, lacking

    def _without_wrappers(self, state_dict: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a checkpoint without the prefixes of wrappers, if its names are those of the original then."""
        inner = [str(key) for key, value in state_dict.items() if isinstance(value, Mapping) and key not in self.shapes]
        if inner and not self.shapes.keys() & state_dict.keys():
            raise RuntimeError(
                f"this is no state dict, but holds {listing(map(repr, inner))}: pass the one that has the weights, or "
                "read the file with slopewise.checkpoint.load_state_dict, which finds it"
            )
        if state_dict.keys() <= self.shapes.keys():
            return state_dict
        try:
            bare = strip_prefixes(state_dict)
        except CheckpointError:  # two names would become one
            return state_dict
        return (
            bare if len(self.shapes.keys() & bare.keys()) > len(self.shapes.keys() & state_dict.keys()) else state_dict
        )

    def hint(self, state_dict: Mapping[str, Any]) -> str:
        """Return advice on a checkpoint that does not fit: the prefix under which it has the original's names."""
        first = next(iter(self.shapes), "")
        for prefix in (key.removesuffix(first) for key in state_dict if first and key.endswith(f".{first}")):
            if all(f"{prefix}{key}" in state_dict for key in self.shapes):
                inside = f"{{k.removeprefix({prefix!r}): v for k, v in checkpoint.items() if k.startswith({prefix!r})}}"
                return f". Its names begin with {prefix!r} where they are this model's: load {inside}"
        return ""

    def _under_all_names(self, state_dict: Mapping[str, Any]) -> dict[str, Any]:
        """Return the state dict with tied tensors under all their names in the original model.

        A file may hold one name of a tied tensor, as safetensors does. In the converted model it may be tied no longer.
        """
        others = {other: key for key in state_dict for other in self.aliases.get(key, ()) if other not in state_dict}
        return {**state_dict, **{other: state_dict[key] for other, key in others.items()}}


def listing(keys: Iterable[str]) -> str:
    """Return the first five of some keys, and the number of the others.

    Example:
        >>> listing(["a", "b"]), listing([]), listing("abcdefg")
        ('a, b', 'nothing', 'a, b, c, d, e and 2 more')
    """
    keys = list(keys)
    return ", ".join(keys[:5]) + (f" and {len(keys) - 5} more" if len(keys) > 5 else "") if keys else "nothing"


def _as_many(slopes: Tensor, count: int) -> Tensor:
    """Return slopes in another number: repeated for every channel, or their mean."""
    flat = slopes.flatten()
    if flat.numel() == count:
        return flat
    return flat.mean(0, keepdim=True).to(flat.dtype) if count == 1 else flat.expand(count)


def _set_metadata(state_dict: OrderedDict[str, Any], metadata: Mapping[str, Any] | None) -> None:
    if metadata is not None:
        state_dict._metadata = metadata  # type: ignore[attr-defined]
