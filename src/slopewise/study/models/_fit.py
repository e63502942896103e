"""Place of a network's tensors in a state dict: the prefix of their names, and the entries beside them."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from torch import Size

Shapes = Mapping[str, Size]

# Words in the names of modules that training scripts and wrappers keep beside a network, and that are no part of it.
_BESIDE = frozenset(
    {"loss", "losses", "criterion", "criteria", "criterions", "objective", "metric", "metrics", "acc", "accuracy"}
    | {"auc", "auroc", "iou", "dice", "f1", "precision", "recall", "confusion", "confmat", "fid", "psnr", "ssim"}
    | {"lpips", "ece", "top1", "top5"}
)
_COPIES = frozenset({"ema", "swa", "averaged", "average", "avg", "teacher", "target", "momentum", "shadow"})


def prefixes(own: Shapes, given: Shapes, *, tied: Mapping[str, Collection[str]]) -> dict[str, int]:
    """Return each prefix under which a file holds tensors of a network, and the number of these tensors.

    Args:
        own: Names and shapes of the network's tensors.
        given: Names and shapes of the file's tensors.
        tied: For a name of the network, the other names of the same tensor; they count once.

    Example:
        >>> shape = Size([3])
        >>> prefixes({"a.w": shape, "b.w": shape}, {"net.a.w": shape, "net.b.w": shape, "loss.w": shape}, tied={})
        {'net.': 2}
    """
    matches: dict[str, set[str]] = {}
    for name, shape in given.items():
        parts = name.split(".")
        for start in range(len(parts)):
            rest = ".".join(parts[start:])
            if own.get(rest) == shape:
                first = min((rest, *tied.get(rest, ())))
                matches.setdefault(name[: len(name) - len(rest)], set()).add(first)
    return {prefix: len(names) for prefix, names in matches.items()}


def likeliest(counts: Mapping[str, int], needed: int) -> list[str]:
    """Return the most probable prefixes of a network: one, or several if the choice is ambiguous.

    Under the chosen one most of the network's tensors are found, at least half of them. The network itself (no
    prefix) goes before others, and others before a moving average or teacher of the same network.

    Example:
        >>> likeliest({"model.": 4, "ema_model.": 4, "head.": 1}, 4)
        ['model.']
        >>> likeliest({"left.": 4, "right.": 4}, 4)
        ['left.', 'right.']
        >>> likeliest({"stem.": 1}, 4)
        ['']
    """
    most = max(counts.values(), default=0)
    if 2 * most < needed or most == counts.get("", 0):
        return [""]
    best = [prefix for prefix, count in counts.items() if count == most]
    return [prefix for prefix in best if not is_copy(prefix)] or best


def is_beside(name: str) -> bool:
    """Return True if a tensor belongs to a loss, a metric or a copy of the network by the first part of its name.

    Example:
        >>> is_beside("criterion.weight"), is_beside("val_acc.total"), is_beside("fc.weight")
        (True, True, False)
    """
    first = name.partition(".")[0]
    return not _BESIDE.isdisjoint(_words(first)) or is_copy(f"{first}.")


def is_copy(prefix: str) -> bool:
    """Return True if a prefix is that of a moving average or a teacher of the network.

    Example:
        >>> is_copy("ema_model.module."), is_copy("online_model."), is_copy("targetNet.")
        (True, False, True)
    """
    return not _COPIES.isdisjoint(_words(prefix))


def _words(name: str) -> set[str]:
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name)
    return set(re.findall(r"[a-z]+\d?", spaced.lower()))
