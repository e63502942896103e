"""Gradient norms of each layer after the last epoch, over the seeds in which training converged."""

from __future__ import annotations

from dataclasses import dataclass

from slopewise.records import StudyRecord


@dataclass(frozen=True, slots=True)
class GradientInfo:
    """Gradient norms, one value per seed, by layer and arm; `arms` are those that have any, in the study's order."""

    arms: tuple[str, ...]
    norms: dict[str, dict[str, list[float]]]


def gradient_info(study: StudyRecord) -> GradientInfo | None:
    """Return the gradient norms after the last epoch; None if there are no records of them.

    Example:
        >>> from slopewise.testing import synthetic_study
        >>> gradient_info(synthetic_study(("relu", "elu"), seeds=3)).arms
        ('relu', 'elu')
    """
    norms: dict[str, dict[str, list[float]]] = {}
    for trial in study.trials:
        if trial.diverged:
            continue
        epochs, layers, values = trial.columns("gradients", "epoch", "layer", "norm")
        last = max(epochs, default=0)
        for epoch, layer, norm in zip(epochs, layers, values, strict=True):
            if epoch == last and norm is not None:
                norms.setdefault(layer, {}).setdefault(trial.arm, []).append(norm)
    if not norms:
        return None
    return GradientInfo(tuple(arm for arm in study.arms if any(arm in layer for layer in norms.values())), norms)
