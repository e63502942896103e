"""Scores of the information about the image in the output of each call site, at the final weights of a trial.

Two ridge regressions predict the class (`linear_probe`) and the pixels (`reconstruction`) from the output of a call
site. They are fitted on images that the network was trained on, and scored on held-out images. docs/protocol.md defines
both.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from slopewise.records import LayerScoreRecord
from slopewise.study._streams import derive, stream
from slopewise.study._trial._loop import Loop
from slopewise.study._trial._setup import Setup

_IMAGES = 1000  # largest number of images to fit on, and to score on
_FEATURES = 512  # largest number of features per image, after the projection
_OUTPUTS = 4096  # largest number of outputs that are projected: bounds the matrix to 8 MiB
_PIXELS = 8  # largest height and width of the images to reconstruct
_RIDGE = 1e-3  # penalty, relative to the mean eigenvalue of the features' Gram matrix


def layer_scores(setup: Setup, loop: Loop) -> tuple[LayerScoreRecord, ...]:
    """Return the scores of every call site, in the order of the forward pass."""
    generator, images = stream(setup.seed, "information"), setup.data.train_images
    parts = (setup.kept, setup.held_out)
    fit, held_out = (part[torch.randperm(len(part), generator=generator)[:_IMAGES]] for part in parts)
    index = torch.cat([fit, held_out])
    pixels = []
    with Features(setup.built.sites, setup.seed) as features:
        for chosen, _ in loop.outputs(images, index):
            pixels.append(_pooled(images[chosen]))
            features.end_batch()
    targets = {"reconstruction": torch.cat(pixels)}
    if setup.data.kind == "labels":
        labels = F.one_hot(setup.data.train_targets[index], len(setup.data.classes))
        targets = {"linear_probe": labels.double(), **targets}
    return tuple(
        LayerScoreRecord(site, measure, value)
        for site, values in features.by_site(len(index)).items()
        for measure, value in _scores(values, targets, len(fit))
    )


def _pooled(images: Tensor) -> Tensor:
    """Return images (N, C, *sizes) as rows of float64, average-pooled to at most `_PIXELS` along each axis."""
    size = tuple(min(_PIXELS, side) for side in images.shape[2:])
    pixels = images.double()
    if len(size) == 2:
        return F.adaptive_avg_pool2d(pixels, size).flatten(1)
    return F.adaptive_avg_pool3d(pixels, (size[0], size[1], size[2])).flatten(1)


def _scores(features: Tensor, targets: Mapping[str, Tensor], fitted: int) -> Iterator[tuple[str, float | None]]:
    """Yield each measure and its score, fitted on the first `fitted` rows and scored on the others."""
    finite = bool(features.isfinite().all())
    for measure, values in targets.items():
        if not finite:
            yield measure, None
            continue
        predicted = ridge(features[:fitted], values[:fitted], features[fitted:])
        score = accuracy if measure == "linear_probe" else explained
        yield measure, score(predicted, values[fitted:])


def ridge(features: Tensor, targets: Tensor, new: Tensor) -> Tensor:
    """Return the predictions of a ridge regression for new features; its intercept is not penalised.

    The penalty is `_RIDGE` times the mean eigenvalue of the Gram matrix of the centred features, so that predictions do
    not depend on the scale of the features. If all features are constant, the prediction is the mean of the targets.

    Args:
        features: Features to fit on, of shape (N, D).
        targets: Their targets, of shape (N, K).
        new: Features to predict for, of shape (M, D).

    Returns:
        Predictions of shape (M, K).

    Example:
        >>> x = torch.tensor([[0.0], [1.0], [2.0]], dtype=torch.float64)
        >>> [round(y, 3) for y in ridge(x, 3 * x + 1, x + 10).flatten().tolist()]  # 31, 34, 37, shrunk
        [30.973, 33.97, 36.967]
    """
    centre, mean = features.mean(dim=0), targets.mean(dim=0)
    centred = features - centre
    gram = centred.T @ centred
    penalty = _RIDGE * gram.trace() / len(gram)
    gram.diagonal().add_(penalty if penalty > 0 else 1.0)
    weights = torch.cholesky_solve(centred.T @ (targets - mean), torch.linalg.cholesky(gram))
    return (new - centre) @ weights + mean


def accuracy(predicted: Tensor, one_hot: Tensor) -> float:
    """Return the fraction of rows whose largest prediction is at the row's class."""
    return (predicted.argmax(dim=1) == one_hot.argmax(dim=1)).double().mean().item()


def explained(predicted: Tensor, targets: Tensor) -> float | None:
    """Return R² = 1 - residual / total sum of squares, over all rows and columns; None if the targets are constant."""
    total = (targets - targets.mean(dim=0)).square().sum().item()
    return 1 - (targets - predicted).square().sum().item() / total if total else None


class Features:
    """Outputs of call sites, reduced to at most `_FEATURES` features per image during the forward pass.

    A larger output is projected by a Gaussian matrix. Of an output with more than `_OUTPUTS` elements, only `_OUTPUTS`
    random ones are projected. The choice and the matrix depend only on the size of the output and the seed of the
    trial, so they are the same in all arms.

    Args:
        sites: Activation modules by call site.
        seed: Seed of the trial.

    Example:
        >>> net = nn.Sequential(nn.ReLU(), nn.Flatten(), nn.Linear(900, 1))
        >>> with Features({"0": net[0]}, seed=0) as features:
        ...     for _ in range(2):
        ...         _ = net(torch.ones(3, 9, 10, 10))
        ...         features.end_batch()
        >>> {site: tuple(values.shape) for site, values in features.by_site(6).items()}
        {'0': (6, 512)}
    """

    def __init__(self, sites: Mapping[str, nn.Module], seed: int) -> None:
        self._names = {id(module): name for name, module in reversed([*sites.items()])}  # a module's first name
        self._modules = {id(module): module for module in sites.values()}
        self._seed = seed
        self._calls: Counter[str] = Counter()
        self._parts: dict[str, list[Tensor]] = defaultdict(list)
        self._matrices: dict[int, tuple[Tensor, Tensor]] = {}

    def __enter__(self) -> Self:
        self._hooks = [module.register_forward_hook(self._see) for module in self._modules.values()]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for hook in self._hooks:
            hook.remove()

    def end_batch(self) -> None:
        """Reset the counts of calls, which tell the call sites of a module apart; to be called after each batch."""
        self._calls.clear()

    def by_site(self, images: int) -> dict[str, Tensor]:
        """Return the features of each call site, of shape (images, D), as float64 on the CPU.

        A call site is left out unless it has exactly one output per image, all of the same size.

        Args:
            images: Number of images in all batches.
        """
        fitting = {
            name: parts
            for name, parts in self._parts.items()
            if sum(map(len, parts)) == images and len({part.shape[1] for part in parts}) == 1
        }
        return {name: torch.cat(parts).double() for name, parts in fitting.items()}

    def _see(self, module: nn.Module, _args: tuple[Any, ...], output: Tensor) -> None:
        name = self._names[id(module)]
        self._calls[name] += 1
        call = self._calls[name]
        # Reduced at once, because a later in-place operation may overwrite the output.
        rows = self._reduced(output.detach().reshape(len(output), -1)).cpu()
        self._parts[name if call == 1 else f"{name} ({call})"].append(rows)

    def _reduced(self, rows: Tensor) -> Tensor:
        size = rows.shape[1]
        if size <= _FEATURES:
            return rows.to(torch.float32, copy=True)
        if size not in self._matrices:
            generator = torch.Generator().manual_seed(derive(self._seed, f"projection/{size}"))
            chosen = torch.randperm(size, generator=generator)[:_OUTPUTS].sort().values
            matrix = torch.randn(len(chosen), _FEATURES, generator=generator) * _FEATURES**-0.5
            self._matrices[size] = chosen.to(rows.device), matrix.to(rows.device)
        chosen, matrix = self._matrices[size]
        with torch.autocast(rows.device.type, enabled=False):
            return rows[:, chosen].float() @ matrix
