"""Finding the slopes in a state dict without the code of the model.

A state dict has names and shapes, but no classes. Only a fused layer of slopewise saves `slope` beside BatchNorm's
statistics. A PReLU saves a one-dimensional `weight` and nothing else; so do normalisations without a bias (RMSNorm) and
losses with class weights. In that case the evidence for slopes is their layer's name, their number and their values.
PReLUs of other libraries call their slopes `alpha`, or have one for each pixel; these are found by the layer's name.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Literal

from slopewise.errors import SlopewiseError, nearest
from slopewise.modules import memory

if TYPE_CHECKING:
    from torch import Tensor

Certainty = Literal["certain", "likely", "unclear", "chosen", "rejected"]

SCALE_MEDIAN = 0.75  # a normalisation's scale starts at 1; few trained slopes get there

_BEST: tuple[Certainty, ...] = ("chosen", "certain", "likely", "unclear", "rejected")
_ALONE = "a 1-D weight that is all its layer saves"
_ENTRY = re.compile(
    r"(?:(.*)[./])?(parametrizations\.)?(weight|slope|negative_slope|alpha)(?(2)\.original)(?::0)?", re.DOTALL
)
_PRELU = re.compile(r"p_?re_?lu")
_ACTIVATION = re.compile(r"[pl]?relu|leaky|acts?|activations?|nonlin|nonlinearity|slopes?")
_SCALE = re.compile(r".*norm.*|ln|bn|gn|rms|ls|.*scale|gamma|gain")
_OTHER = re.compile(r"criterion|.*loss.*|emb.*")


@dataclass(frozen=True, slots=True)
class FoundLayer:
    """A layer with slopes.

    Attributes:
        layer: Path of the layer in the network.
        entry: Name of its slopes in the state dict.
        slopes: Slopes as saved, of any shape.
        certainty: Confidence that these are slopes: "certain" or "likely" by the `evidence`; "unclear" if the entry may
            be something else; "chosen" if the caller named the layer.
        evidence: Reason for the certainty, in words.
        raw: If True, the layer is parametrised, and the entry holds the tensor that its slopes are computed from.
        aliases: Other names of the same layer, whose tensors share this one's memory.
    """

    layer: str
    entry: str
    slopes: Tensor
    certainty: Certainty
    evidence: str
    raw: bool = False
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FoundSlopes:
    """Layers with slopes in the state dict's order, and the candidates that were rejected, each with the reason."""

    layers: tuple[FoundLayer, ...]
    rejected: Mapping[str, str]


def find_slopes(
    state_dict: Mapping[str, Tensor],
    *,
    only: Sequence[str] = (),
    skip: Sequence[str] = (),
    also: Sequence[str] = (),
) -> FoundSlopes:
    """Find the slopes of a network in its state dict.

    | saved | taken as |
    | --- | --- |
    | `slope` beside `running_mean`, with one value or as many | certain: a fused layer of slopewise |
    | `slope` or `negative_slope` elsewhere, with one axis: (C,), (1, C, 1, 1), () | likely |
    | a lone 1-D `weight`, the only entry of its layer, in a layer named as an activation | likely |
    | a lone 1-D `weight` in a layer named as a normalisation, an embedding or a loss | rejected |
    | a lone 1-D `weight` of one value, or of as many as some layer has channels | likely |
    | a lone 1-D `weight` of another length, with a median of 0.75 or more, or beside similar normalisations | unclear |
    | `parametrizations.weight.original`, `parametrizations.slope.original` | as above, and `raw` |
    | a lone `weight` of any shape, or a lone `alpha`, in a layer named as a PReLU ("prelu", "p_re_lu_1") | likely |
    | a lone `alpha` with one axis in a layer named as another activation | unclear |

    Any other `weight` of more than one dimension belongs to a convolution or a linear layer and is never taken,
    (1, C, 1, 1) included. Entries that share one memory are one layer with several names.

    Args:
        state_dict: Tensors by name, from `slopewise.checkpoint.load_state_dict` or a model.
        only: Patterns of `fnmatch` for the layers to keep. Empty keeps all.
        skip: Patterns of layers to leave out.
        also: Patterns of layers whose lone `weight` is taken for slopes despite any evidence against it.

    Raises:
        SlopewiseError: a pattern of `also` matches no layer with a lone one-dimensional weight.

    Example:
        >>> from torch import nn
        >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.PReLU(8), nn.RMSNorm(8))
        >>> [(layer.layer, layer.certainty) for layer in find_slopes(net.state_dict()).layers]
        [('1', 'likely'), ('2', 'unclear')]
    """
    candidates = list(_candidates(state_dict))
    names = [candidate.layer for candidate in candidates]
    for pattern in also:
        if not any(fnmatchcase(name, pattern) for name in names):
            hint = nearest(pattern, names) if names else "there is none"
            raise SlopewiseError(f"no layer with a one-dimensional weight of its own fits '{pattern}'; {hint}")
    layers = [
        replace(layer, certainty="chosen", evidence="you named it") if _fits(layer.layer, also) else layer
        for layer in candidates
        if _fits(layer.layer, only or ["*"]) and not _fits(layer.layer, skip)
    ]
    return FoundSlopes(
        tuple(_tied(layer for layer in layers if layer.certainty != "rejected")),
        {layer.entry: layer.evidence for layer in layers if layer.certainty == "rejected"},
    )


def _tied(layers: Iterable[FoundLayer]) -> Iterator[FoundLayer]:
    """Merge layers that share one tensor, under the name whose certainty is highest."""
    groups: dict[tuple[object, ...], list[FoundLayer]] = {}
    for layer in layers:
        groups.setdefault(memory(layer.slopes), []).append(layer)
    for group in groups.values():
        first = min(group, key=lambda layer: _BEST.index(layer.certainty))
        yield replace(first, aliases=tuple(layer.layer for layer in group if layer is not first))


@dataclass(frozen=True, slots=True)
class _Context:
    """The rest of the file, as far as it is evidence about an entry."""

    before: Collection[int]  # numbers of channels of the nearest layer before it that has any
    channels: Collection[int]  # numbers of channels of all layers
    bare_scales: bool  # some normalisation in the file saves only a weight


def _candidates(state_dict: Mapping[str, Tensor]) -> Iterator[FoundLayer]:
    """Yield every entry that may be slopes, with its certainty and evidence."""
    entries = list(_entries(state_dict))
    bare_scales = any(leaf == "weight" and _named(layer, _SCALE) for _, layer, leaf, _ in entries)
    channels = {size for name, tensor in state_dict.items() for size in _channels(name, tensor)}
    before: dict[str, Collection[int]] = {}
    last: Collection[int] = ()
    for name, tensor in state_dict.items():
        before[name] = last = _channels(name, tensor) or last
    for entry, layer, leaf, raw in entries:
        slopes = state_dict[entry]
        if _named(layer, _PRELU) and (leaf == "alpha" or slopes.ndim != 1):
            judged = _judge_prelu(leaf, slopes)
        elif leaf == "alpha":
            judged = "unclear", "a lone alpha: it may be the parameter of another activation (ELU, Snake)"
        elif leaf == "weight":
            judged = _judge_weight(layer, slopes, _Context(before[entry], channels, bare_scales))
        else:
            judged = _judge_named(slopes, state_dict.get(_inside(layer, "running_mean")))
        yield FoundLayer(layer, entry, slopes, *judged, raw)


def _entries(state_dict: Mapping[str, Tensor]) -> Iterator[tuple[str, str, str, bool]]:
    """Yield the entries with a name and shape that slopes can have.

    Each comes with its layer, the parameter's own name, and True if it is parametrised.
    """
    below = Counter(parent for name in state_dict for parent in _parents(name))
    for entry, tensor in state_dict.items():
        match = _ENTRY.fullmatch(entry)
        if not match or not _readable(tensor):
            continue
        layer, raw, leaf = match[1] or "", bool(match[2]), match[3]
        alone = below[layer.replace("/", ".")] == (below[_inside(layer, "parametrizations.weight")] if raw else 1)
        one_axis = max(tensor.shape, default=1) == tensor.numel()
        prelu = alone and _named(layer, _PRELU)
        fits = {
            "weight": (alone and tensor.ndim == 1) or prelu,
            "alpha": prelu or (alone and one_axis and _named(layer, _ACTIVATION)),
        }
        if fits.get(leaf, one_axis):
            yield entry, layer, leaf, raw


def _judge_named(slopes: Tensor, statistics: Tensor | None) -> tuple[Certainty, str]:
    if statistics is not None and slopes.ndim == 1 and len(slopes) in (1, len(statistics)):
        return "certain", "a slope beside the statistics of a BatchNorm"
    return "likely", "its name is slope"


def _judge_prelu(leaf: str, slopes: Tensor) -> tuple[Certainty, str]:
    shape = " x ".join(map(str, slopes.shape)) or "single"
    each = ", one for each pixel" if sum(size > 1 for size in slopes.shape) > 1 else ""
    return "likely", f"a {shape} {leaf} that is all its layer saves, in a layer named as a PReLU{each}"


def _judge_weight(layer: str, slopes: Tensor, context: _Context) -> tuple[Certainty, str]:
    if _named(layer, _ACTIVATION):
        return "likely", f"{_ALONE}, in a layer named as an activation"
    if _named(layer, _SCALE) or _named(layer, _OTHER):
        return "rejected", "the layer is named as a normalisation, an embedding or a loss"
    if len(slopes) == 1:
        return "likely", f"{_ALONE}, of one value"
    doubts = {
        "but no layer has so many channels": len(slopes) not in context.channels,
        "but around 1: it may be the scale of a normalisation": bool(slopes.double().nanmedian() >= SCALE_MEDIAN),
        "but so do normalisations in this file: it may be the scale of another": context.bare_scales,
    }
    for doubt, holds in doubts.items():
        if holds:
            return "unclear", f"{_ALONE}, {doubt}"
    where = "the layer before it" if len(slopes) in context.before else "another layer"
    return "likely", f"{_ALONE}, of as many values as {where} has channels"


def _named(layer: str, kind: re.Pattern[str]) -> bool:
    """Return True if a word of the layer's own name is of this kind; the own name of "acts.3" is "acts"."""
    own = next((part.lower() for part in reversed(re.split(r"[./]", layer)) if not part.isdecimal()), "")
    return any(kind.fullmatch(word) for word in (*re.findall(r"[a-z]+", own), own.rstrip("_0123456789")))


def _channels(name: str, tensor: Tensor) -> tuple[int, ...]:
    """Return the numbers of channels that a tensor may show: a layer's output and input, or a BatchNorm's."""
    if tensor.ndim >= 2:
        return tuple(tensor.shape[:2])
    return tuple(tensor.shape) if name.endswith("running_mean") else ()


def _readable(tensor: Tensor) -> bool:
    import torch

    return tensor.is_floating_point() and tensor.layout == torch.strided and not tensor.is_meta and tensor.numel() > 0


def _parents(name: str) -> Iterator[str]:
    parts = name.replace("/", ".").split(".")
    return (".".join(parts[:depth]) for depth in range(len(parts)))


def _inside(layer: str, name: str) -> str:
    return f"{layer}.{name}" if layer else name


def _fits(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
