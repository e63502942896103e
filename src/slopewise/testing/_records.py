"""Records of a study that was never trained, for tests of analysis, reports and stores."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slopewise.records import (
    AlarmRecord,
    EpochRecord,
    GradientRecord,
    OperatorCostRecord,
    Part,
    ScoreRecord,
    SiteRecord,
    StudyRecord,
    TrialRecord,
    classification_metrics,
)

_LAYERS = {"act1": 16, "act2": 16, "act3": 32, "act4": 32, "act5": 64, "act6": 64}
_QUARTILES = (0, 0.25, 0.5, 0.75, 1)
_STEPS_PER_EPOCH = 20
_TEST_IMAGES = 360  # accuracies are multiples of 1 / this, as real ones are
_ENVIRONMENT = {
    "python": "3.11.2",
    "torch": "2.13.0",
    "numpy": "2.3.0",
    "cpu": "synthetic CPU",
    "cpu_operators": {"name": "kernels", "reason": "they are synthetic, too"},
    "threads": 1,
    "platform": "Linux",
}


def synthetic_study(
    arms: Sequence[str | Mapping[str, Any]] = ("relu", "leaky_relu", "frozen_slope", "prelu_shared", "prelu_channel"),
    seeds: int = 10,
    *,
    epochs: int = 12,
    effects: Mapping[str, float] | None = None,
    diverged: Mapping[str, int] | None = None,
    failed: Mapping[str, int] | None = None,
    classes: int = 10,
    margin: float = 0.5,
    looks: Sequence[int] = (),
    tuned: bool = False,
    seed: int = 0,
) -> StudyRecord:
    """Make a `StudyRecord` with plausible curves, slopes, dead units and gradients; nothing is trained.

    A trial's test accuracy is 95 % + its arm's effect + noise, a third of whose variance the arms of a seed
    share. Arms whose activation starts with "prelu" have slopes, one per layer if it ends in "shared", else one per
    channel, and their first trial has the step time with stock PyTorch. Only ReLU has dead units.

    Args:
        arms: Arms, the control first: names of activations, which are also the names of the arms, or tables as in a
            spec.
        seeds: Number of seeds, 0, 1, ...
        epochs: Number of training epochs; epoch 0, before training, is recorded too.
        effects: Percentage points added to the test accuracy of an arm, by its name. Default 0.
        diverged: Number of an arm's first seeds that diverge, by its name. Default 0.
        failed: Number of an arm's last seeds that fail, by its name. Default 0.
        classes: Number of classes.
        margin: Smallest difference of practical interest, in percentage points.
        looks: Numbers of seeds at the looks of an adaptive study; the last one replaces `seeds`.
        tuned: True for a spec with [tune]; the trials of the tuning are missing.
        seed: Seed of all the noise; the same arguments give the same record.

    Example:
        >>> study = synthetic_study(("relu", "prelu_channel"), seeds=3, diverged={"prelu_channel": 1})
        >>> [(trial.arm, trial.seed, trial.diverged) for trial in study.trials][-3:]
        [('prelu_channel', 0, True), ('prelu_channel', 1, False), ('prelu_channel', 2, False)]
    """
    seeds = looks[-1] if looks else seeds
    effects, diverged, failed = effects or {}, diverged or {}, failed or {}
    tables = [_table(arm) for arm in arms]
    names = tuple(table["name"] for table in tables)
    unknown = sorted({*effects, *diverged, *failed} - set(names))
    if unknown:
        raise ValueError(f"unknown arms {unknown}: this study has {list(names)}")
    trials = []
    for number, table in enumerate(tables):
        arm = table["name"]
        for trial_seed in range(seeds):
            trial = _trial(
                arm,
                trial_seed,
                activation=table["activation"],
                epochs=epochs,
                classes=classes,
                effect=effects.get(arm, 0.0),
                stream=[seed, trial_seed, number],
            )
            if trial_seed >= seeds - failed.get(arm, 0):
                trial = TrialRecord(
                    arm, trial_seed, "failed", attempts=2, error="Traceback ...\nRuntimeError: worker died"
                )
            elif trial_seed < diverged.get(arm, 0):
                trial = _diverge(trial)
            trials.append(trial)
    return StudyRecord(
        arms=names,
        control=names[0],
        seeds=tuple(range(seeds)),
        margin=margin,
        metrics=classification_metrics(classes),
        spec={
            "arms": tables,
            "control": names[0],
            "seeds": list(range(seeds)),
            "margin": margin,
            "train": {"epochs": epochs},
            **({"until_decided": {"looks": list(looks)}} if looks else {}),
            **({"tune": {"lr": [0.003, 0.3], "points": 8, "seeds": 3}} if tuned else {}),
        },
        data={
            "name": "synthetic",
            "digest": _digest("data"),
            "shape": [1, 8, 8],
            "train_and_validation_images": 1437,
            "test_images": _TEST_IMAGES,
            "classes": [str(k) for k in range(classes)],
        },
        environments={"synthetic": dict(_ENVIRONMENT)},
        trials=tuple(trials),
        looks=tuple(looks),
    )


def _table(arm: str | Mapping[str, Any]) -> dict[str, Any]:
    return {"name": arm, "activation": arm, "options": {}} if isinstance(arm, str) else {"options": {}, **arm}


def replace_score(
    trial: TrialRecord, part: Part, metric: str, value: float | None, epoch: int | None = None
) -> TrialRecord:
    """Return a trial with another value for one score; with None, without the score.

    Args:
        trial: Record of the trial.
        part: Part of the data: "train", "validation" or "test".
        metric: Name of the metric.
        value: New value.
        epoch: Number of the epoch; None for the score of the final weights.

    Example:
        >>> trial = replace_score(synthetic_study(seeds=1).trials[0], "test", "accuracy", 0.5)
        >>> trial.score("test", "accuracy")
        0.5
    """
    key = (epoch, part, metric)
    others = tuple(row for row in trial.scores if (row.epoch, row.part, row.metric) != key)
    rows = () if value is None else (ScoreRecord(epoch, part, metric, value),)
    return replace(trial, scores=(*others, *rows))


def _trial(
    arm: str, trial_seed: int, *, activation: str, epochs: int, classes: int, effect: float, stream: list[int]
) -> TrialRecord:
    shared = np.random.default_rng(stream[:2])
    rng = np.random.default_rng(stream)
    points = 95 + effect + 0.4 * shared.standard_normal() + 0.6 * rng.standard_normal()
    test_accuracy = float(np.clip(np.rint(points / 100 * _TEST_IMAGES), 0, _TEST_IMAGES) / _TEST_IMAGES)
    speed = 1.3 if activation.startswith("prelu") else 1.0
    curve, scores = [], list[ScoreRecord]()
    for epoch in range(epochs + 1):
        left = math.exp(-6 * epoch / epochs)  # part of the way to the final score that is left
        curve.append(_epoch(epoch, left, speed))
        scores += _scores(epoch, left, final=test_accuracy, classes=classes, wobble=rng.random(2))
    sites = _sites(activation, epochs, rng)
    norms = [
        GradientRecord(
            epoch, layer.replace("act", "conv"), float(np.exp(-epoch / epochs + 0.1 * rng.standard_normal()))
        )
        for epoch in range(epochs + 1)
        for layer in _LAYERS
    ]
    last = {(row.part, row.metric): row.value for row in scores if row.epoch == epochs}
    last["train", "accuracy"] = min(1.0, test_accuracy + 0.02 + 0.01 * float(rng.random()))
    last |= {("test", "loss"): 1.1 * (last["validation", "loss"] or 0.0), ("test", "accuracy"): test_accuracy}
    scores += (ScoreRecord(None, part, metric, value) for (part, metric), value in last.items())
    return TrialRecord(
        arm,
        trial_seed,
        "finished",
        steps=curve[-1].step,
        seconds=0.02 * speed * curve[-1].step,
        seconds_per_step=float(0.01 * speed * (1 + 0.02 * rng.standard_normal())),
        parameters=65_000 + _slopes(activation, sum(_LAYERS.values()), len(_LAYERS)),
        slope_parameters=_slopes(activation, sum(_LAYERS.values()), len(_LAYERS)),
        init_digest=_digest(f"init {stream[:2]}"),
        data_digest=_digest(f"order {stream[:2]}"),
        environment="synthetic",
        epochs=tuple(curve),
        sites=tuple(sites),
        gradients=tuple(norms),
        operator_costs=_operator_costs(activation, trial_seed, 0.01 * speed),
        scores=tuple(scores),
    )


def _epoch(epoch: int, left: float, speed: float) -> EpochRecord:
    return EpochRecord(
        epoch=epoch,
        step=epoch * _STEPS_PER_EPOCH,
        learning_rate=0.05 * left if epoch else None,
        seconds_per_step=0.01 * speed if epoch > 1 else None,
    )


def _scores(
    epoch: int, left: float, *, final: float, classes: int, wobble: NDArray[np.float64]
) -> Iterator[ScoreRecord]:
    accuracy = final - (final - 1 / classes) * left
    loss = 0.15 + (math.log(classes) - 0.15) * left
    if epoch:
        yield ScoreRecord(epoch, "train", "loss", loss * (0.8 + 0.01 * float(wobble[0])))
        yield ScoreRecord(epoch, "train", "accuracy", min(1.0, accuracy + 0.01))
    yield ScoreRecord(epoch, "validation", "loss", loss * (1 + 0.01 * float(wobble[1])))
    yield ScoreRecord(epoch, "validation", "accuracy", accuracy - 0.01 * float(wobble[0]))


def _sites(activation: str, epochs: int, rng: np.random.Generator) -> list[SiteRecord]:
    slopes, dead = {layer: list[NDArray[np.float64]]() for layer in _LAYERS}, []
    for epoch in range(epochs + 1):
        for depth, (layer, units) in enumerate(_LAYERS.items()):
            target = 0.5 / (1 + depth)  # slopes are smaller in deeper layers
            noise = rng.standard_normal(max(_slopes(activation, units, 1), 1))
            slopes[layer].append(0.25 + (target - 0.25) * epoch / epochs + 0.05 * noise)
            dead.append(int(rng.binomial(units, 0.2 * epoch / epochs)) / units if activation == "relu" else 0.0)
    counts = {layer: _slopes(activation, units, 1) for layer, units in _LAYERS.items()}
    # All epochs at once: a call of NumPy's quantiles takes longer than its quantiles.
    quartiles: dict[str, list[Any]] = {
        layer: np.quantile(slopes[layer], _QUARTILES, axis=1).T.tolist() if count else [(None,) * 5] * (epochs + 1)
        for layer, count in counts.items()
    }
    records = []
    for (epoch, (layer, units)), lost in zip(product(range(epochs + 1), _LAYERS.items()), dead, strict=True):
        low, q1, median, q3, high = quartiles[layer][epoch]
        count = counts[layer]
        records.append(SiteRecord(epoch, layer, units, count, low, q1, median, q3, high, lost, lost, 0.0, 0.5, 0.75))
    return records


def _operator_costs(activation: str, trial_seed: int, seconds: float) -> tuple[OperatorCostRecord, ...]:
    if trial_seed or not activation.startswith("prelu"):
        return ()
    ratio = 1.2 if activation.endswith("shared") else 1.25
    return (OperatorCostRecord(15, seconds, ratio * seconds, ratio - 0.01, ratio, ratio + 0.01),)


def _diverge(trial: TrialRecord) -> TrialRecord:
    """Return the trial, stopped a third of the way by a loss that is not a number."""
    last = max(1, trial.epochs[-1].epoch // 3)
    return replace(
        trial,
        diverged_step=(step := last * _STEPS_PER_EPOCH + 7),
        diverged_cause="training loss is nan",
        steps=step,
        epochs=tuple(record for record in trial.epochs if record.epoch <= last),
        sites=tuple(record for record in trial.sites if record.epoch <= last),
        gradients=tuple(record for record in trial.gradients if record.epoch <= last),
        scores=tuple(row for row in trial.scores if row.epoch is not None and row.epoch <= last),
        alarms=(_runaway(step),) if any(site.slopes for site in trial.sites) else (),
    )


def _runaway(step: int) -> AlarmRecord:
    evidence = f"a slope moved by 0.31 in step {step - 10} and 0.4 in step {step - 9}"
    return AlarmRecord("slope-runaway", next(iter(_LAYERS)), step - 9, step - 10, evidence)


def _slopes(activation: str, units: int, layers: int) -> int:
    if not activation.startswith("prelu"):
        return 0
    return layers if activation.endswith("shared") else units


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
