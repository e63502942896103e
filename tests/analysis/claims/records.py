"""Records with planted effects on every figure that a claim looks at; without any, all arms have one law."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from slopewise.records import (
    CellRecord,
    EpochRecord,
    LayerScoreRecord,
    OperatorCostRecord,
    ScoreRecord,
    SiteRecord,
    StudyRecord,
    TrialRecord,
    classification_metrics,
)

LAYERS, EPOCHS, STEPS = 4, 4, 20
Figures = Callable[[Mapping[str, Any], Mapping[str, Any]], Mapping[str, Any]]
Cell = tuple[str, Mapping[str, Any], Sequence[str], Sequence[int]]


def make(
    arms: Sequence[str | Mapping[str, Any]],
    figures: Figures = lambda arm, settings: {},
    *,
    seeds: int = 10,
    cells: Iterable[Cell] = (),
    spec: Mapping[str, Any] | None = None,
    looks: tuple[int, ...] = (),
    seed: int = 0,
) -> StudyRecord:
    """Make a study.

    `figures` gives what is planted in the trials of an arm (its table) under some settings (of a cell): `score` in
    points, `diverged`, `loss` and `seconds` as factors, `stock` as the ratio of the operators, `dead` and `gap` in
    points, `late` in epochs, `slopes` of the four layers, `outside` as the probability of a slope below 0, `layer` in
    hundredths.
    """
    tables = [{"options": {}, **({"name": a, "activation": a} if isinstance(a, str) else a)} for a in arms]
    by_name = {table["name"]: table for table in tables}
    rng = np.random.default_rng(seed)

    def trials(names, numbers, settings, key):
        return tuple(
            make_trial(by_name[name], number, rng, cell=key, **figures(by_name[name], settings))
            for number in numbers
            for name in names
        )

    made = []
    for role, settings, names, numbers in cells:
        key = ", ".join(f"{name} = {str(settings[name]).lower()}" for name in sorted(settings))
        made.append(
            CellRecord(
                key, dict(settings), (role,), tuple(names), tuple(numbers), trials(names, numbers, settings, key)
            )
        )
    return StudyRecord(
        arms=tuple(by_name),
        control=tables[0]["name"],
        seeds=tuple(range(seeds)),
        margin=0.5,
        metrics=classification_metrics(10),
        spec={"arms": tables, "train": {"lr": 0.1}, "model": {"options": {}}, "data": {}, **(spec or {})},
        data={"test_images": 10_000, "classes": [str(k) for k in range(10)]},
        environments={"here": {"cpu_operators": {"name": "kernels"}}},
        trials=trials(by_name, range(seeds), {}, ""),
        looks=looks,
        cells=tuple(made),
    )


def make_trial(
    arm: Mapping[str, Any],
    seed: int,
    rng: np.random.Generator,
    *,
    cell: str = "",
    score: float = 0.0,
    diverged: bool = False,
    loss: float = 1.0,
    gap: float = 0.0,
    seconds: float = 1.0,
    stock: float = 1.0,
    dead: float = 0.0,
    late: int = 0,
    slopes: Sequence[float] = (0.25,) * LAYERS,
    outside: float = 0.05,
    layer: float = 0.0,
) -> TrialRecord:
    start = {"init_digest": digest("init", seed), "data_digest": digest("data", seed), "environment": "here"}
    if diverged:
        return TrialRecord(arm["name"], seed, "finished", diverged_step=3, diverged_cause="nan", cell=cell, **start)
    accuracy = 0.9 + (score + 0.3 * rng.standard_normal()) / 100
    reached = int(rng.integers(1, EPOCHS)) + late
    rows = [ScoreRecord(e, "validation", "accuracy", 0.99 if e >= reached else 0.5) for e in range(EPOCHS + 1)]
    rows += [
        ScoreRecord(None, "validation", "accuracy", 0.99),
        ScoreRecord(None, "test", "accuracy", accuracy),
        ScoreRecord(None, "train", "accuracy", accuracy + 0.02 + (gap + 0.3 * rng.standard_normal()) / 100),
        ScoreRecord(None, "train", "loss", loss * float(np.exp(0.05 * rng.standard_normal()))),
    ]
    sloped = arm["activation"].startswith("prelu")
    below = rng.random() < outside
    sites = []
    for number, centre in enumerate(slopes):
        middle = centre + 0.02 * rng.standard_normal()
        low = -0.1 if below and not number else min(middle, 0.01)
        share = max(0.0, (10 + dead + rng.standard_normal()) / 100)
        ends = (low, middle, middle, middle, max(middle, 0.02)) if sloped else (None,) * 5
        parts = {"slopes_below_0": 0.25 * (low < 0), "slopes_above_1": 0.0} if sloped else {}
        sites.append(SiteRecord(EPOCHS, f"act{number}", 16, 16 * sloped, *ends, share, share, **parts))
    return TrialRecord(
        arm["name"],
        seed,
        "finished",
        steps=EPOCHS * STEPS,
        seconds_per_step=0.01 * seconds * float(np.exp(0.02 * rng.standard_normal())),
        slope_parameters=64 if sloped else 0,
        epochs=tuple(EpochRecord(e, e * STEPS, 0.1, 0.01) for e in range(EPOCHS + 1)),
        sites=tuple(sites),
        operator_costs=(OperatorCostRecord(9, 0.01, 0.01 * stock, stock, stock, stock),) if sloped and not seed else (),
        scores=tuple(rows),
        layer_scores=tuple(
            LayerScoreRecord(f"act{number}", measure, (60 + layer + rng.standard_normal()) / 100)
            for measure in ("linear_probe", "reconstruction")
            for number in range(LAYERS)
        ),
        cell=cell,
        **start,
    )


def digest(kind: str, seed: int) -> str:
    return hashlib.sha256(f"{kind} {seed}".encode()).hexdigest()
