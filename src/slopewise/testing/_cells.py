"""Synthetic records of a study's other cells: tuned learning rates, a sensitivity map, factors."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

from slopewise.records import CellRecord, Role, StudyRecord
from slopewise.testing._records import synthetic_study

_BEST_LR, _LARGEST_LR = 0.05, 1.0  # best and largest learning rate at which arms without slopes train
_TUNING_SEEDS = 1_000_000


def with_cells(
    study: StudyRecord,
    *,
    tune: Sequence[float] = (),
    lr: Sequence[float] = (),
    init: Sequence[float] = (0.0, 0.25, 0.5),
    factors: Mapping[str, Sequence[Any]] | None = None,
    seeds: int = 3,
) -> StudyRecord:
    """Return a synthetic study with trials under other settings; nothing is trained.

    Test accuracy falls by 8 points times log10(lr / best)**2, where the best learning rate is 0.1 for arms whose name
    starts with "prelu" and 0.05 for others; above a rate of 1, all trials of the others diverge. It falls by 4 points
    times the squared distance of the initial slope from 0.25. The k-th value of a factor adds k points to arms whose
    name starts with "prelu". The effects of the arms in the study itself do not apply to cells.

    Args:
        study: Study of `synthetic_study`.
        tune: Learning rates tried for every arm, in this order.
        lr: Learning rates of the sensitivity map; no map if empty.
        init: Initial slopes of the map, for the arms whose name starts with "prelu".
        factors: Values of each factor besides the study's own, by the dotted key of the factor.
        seeds: Number of seeds in each cell; those of tuning start at 1000000.

    Example:
        >>> study = synthetic_study(("relu", "prelu_shared"), seeds=2)
        >>> study = with_cells(study, tune=[0.01, 0.1], lr=[0.1], init=[0.25])
        >>> [(cell.key, cell.roles, cell.arms) for cell in study.cells][1:]  # doctest: +NORMALIZE_WHITESPACE
        [('train.lr = 0.1', ('tune',), ('relu', 'prelu_shared')), ('train.lr = 0.1', ('map',), ('relu',)),
        ('arm.options.init = 0.25, train.lr = 0.1', ('map',), ('prelu_shared',))]
    """
    learned = tuple(arm for arm in study.arms if arm.startswith("prelu"))
    fixed = tuple(arm for arm in study.arms if arm not in learned)
    own, others = range(seeds), range(_TUNING_SEEDS, _TUNING_SEEDS + seeds)
    cells = [_cell(study, "tune", {"train.lr": rate}, study.arms, others) for rate in tune]
    for rate in lr:
        cells += [_cell(study, "map", {"train.lr": rate}, fixed, own)] if fixed else []
        cells += [
            _cell(study, "map", {"train.lr": rate, "arm.options.init": slope}, learned, own)
            for slope in init
            if learned
        ]
    for setting, values in (factors or {}).items():
        for number, value in enumerate(values, start=1):
            extra = dict.fromkeys(learned, float(number))
            cells.append(_cell(study, "factors", {setting: value}, study.arms, own, extra))
    return replace(study, spec=dict(_designed(study, tune, lr, init, factors or {}, seeds)), cells=tuple(cells))


def _cell(
    study: StudyRecord,
    role: Role,
    settings: dict[str, Any],
    arms: tuple[str, ...],
    seeds: range,
    extra: Mapping[str, float] | None = None,
) -> CellRecord:
    key = ", ".join(f"{name} = {json.dumps(settings[name])}" for name in sorted(settings))
    effects = {arm: _effect(arm, settings) + (extra or {}).get(arm, 0.0) for arm in arms}
    inside = synthetic_study(
        arms,
        len(seeds),
        epochs=3,
        effects=effects,
        diverged={arm: len(seeds) if _diverges(arm, settings) else 0 for arm in arms},
        classes=len(study.data["classes"]),
        seed=sum(map(ord, key)),
    )
    trials = tuple(replace(trial, seed=seeds[trial.seed], cell=key) for trial in inside.trials)
    ordered = tuple(
        trial for seed, arm in product(seeds, arms) for trial in trials if (trial.seed, trial.arm) == (seed, arm)
    )
    return CellRecord(key, settings, (role,), arms, tuple(seeds), ordered)


def _effect(arm: str, settings: Mapping[str, Any]) -> float:
    learned = arm.startswith("prelu")
    rate, slope = float(settings.get("train.lr", _BEST_LR)), float(settings.get("arm.options.init", 0.25))
    best = _BEST_LR * (2 if learned else 1)
    return -8.0 * math.log10(rate / best) ** 2 - 4.0 * (slope - 0.25) ** 2


def _diverges(arm: str, settings: Mapping[str, Any]) -> bool:
    return bool(settings.get("train.lr", 0.0) > _LARGEST_LR) and not arm.startswith("prelu")


def _designed(
    study: StudyRecord,
    tune: Sequence[float],
    lr: Sequence[float],
    init: Sequence[float],
    factors: Mapping[str, Sequence[Any]],
    seeds: int,
) -> Iterator[tuple[str, Any]]:
    """Yield the tables of the study's spec, including those of its designs."""
    yield from (study.spec | {"train": {"lr": _BEST_LR, **study.spec.get("train", {})}}).items()
    if tune:
        yield "tune", {"lr": [min(tune), max(tune)], "points": len(tune), "seeds": seeds, "widen": 0}
    if lr:
        yield "map", {"lr": list(lr), "init": list(init), "seeds": seeds}
    if factors:
        yield "factors", [{"setting": name, "values": list(values), "seeds": seeds} for name, values in factors.items()]
