"""From what a training function returned and noted to the record of its trial."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from slopewise.errors import CopyError, FunctionError, nearest
from slopewise.machine import environment, environment_digest
from slopewise.monitor import learned_slopes
from slopewise.records import ScoreRecord, TrialRecord
from slopewise.study._function._context import Diverged, TrialContext
from slopewise.study._function._number import number
from slopewise.study._measured import alarm_records
from slopewise.study._spec import StudySpec

WEIGHTS = "weights.sha256"  # digest of the final weights, in a trial's folder


def scores_of(returned: Any, spec: StudySpec, trial: TrialContext) -> list[ScoreRecord]:
    """Return the final scores of a trial: all that the function returned, by part and metric.

    Raises:
        FunctionError: It returned no mapping, lacks a metric of the study, or a value is no number.
        Diverged: A metric of the study is not finite, and the spec has a floor that it counts with.
    """
    names = [metric.name for metric in spec.metrics]
    if not isinstance(returned, Mapping):
        what = "nothing" if returned is None else f"{type(returned).__name__} {returned!r:.40}"
        raise FunctionError(f"returned {what}: it must return the study's metrics, as in {{'{names[0]}': value}}")
    for name in names:
        if name not in returned:
            known = [str(key) for key in returned]
            hint = nearest(name, known) if known else "it is empty"
            raise FunctionError(f"returned no '{name}', which is a metric of the study; {hint}")
    values = {str(name): number(value, f"'{name}'") for name, value in returned.items()}
    for name in names:
        if not math.isfinite(values[name]):
            if spec.floor is None:
                raise FunctionError(
                    f"returned {values[name]} as '{name}': state with --floor (`floor` in the spec) what a diverged "
                    "training counts with (then --retry-failed runs this one again), or return a number"
                )
            step = trial.notes.epochs[-1].step if trial.notes.epochs else 0
            trial.notes.diverged = (step, f"the function returned {values[name]} as {name}")
            raise Diverged(trial.notes.diverged[1])
    return list(_rows(values, trial))


def _rows(values: Mapping[str, float], trial: TrialContext) -> Iterator[ScoreRecord]:
    notes, names = trial.notes, set()
    for name, value in values.items():
        part, metric = notes.place(name, "test")
        names.add((part, metric))
        yield ScoreRecord(None, part, metric, value if math.isfinite(value) else None)
    for row in reversed(notes.scores):  # the last values logged stand for what was not returned
        if (row.part, row.metric) not in names:
            names.add((row.part, row.metric))
            yield ScoreRecord(None, row.part, row.metric, row.value)


def record_of(
    trial: TrialContext, final: list[ScoreRecord], *, seconds: float, source: str | None
) -> tuple[TrialRecord, dict[str, Any]]:
    """Return the record of a trial that has ended, and the facts of its environment.

    Args:
        trial: The trial's context.
        final: Final scores; empty if it diverged.
        seconds: Wall time of the function.
        source: Digest of the function's source, which is part of the environment.

    Raises:
        FunctionError: The function never applied the arm, or trained another model.
        CopyError: The trial is a copy of one of another seed.
    """
    notes, built = trial.notes, trial.notes.built
    if built is None:
        raise FunctionError(
            "never called trial.apply(model, example), so that every arm trained the same network: call it on the "
            "model before the optimizer is made, and train what it returns"
        )
    if notes.diverged is None and any(parameter.requires_grad for parameter in built.model.parameters()):
        _check_weights(trial)
    facts = {**environment(), "function": source}
    step, cause = notes.diverged or (None, None)
    steps = notes.epochs[-1].step if notes.epochs else 0
    logged = [row for row in notes.scores if row.value is not None and math.isfinite(row.value)]
    record = TrialRecord(
        arm=trial.arm,
        seed=trial.seed,
        status="finished",
        diverged_step=step,
        diverged_cause=cause,
        steps=steps,
        seconds=seconds,
        seconds_per_step=notes.seconds_per_step(),
        monitor_seconds=notes.monitor.overhead if notes.monitor else 0.0,
        parameters=sum(parameter.numel() for parameter in built.model.parameters()),
        slope_parameters=sum(learned_slopes(site).numel() for site in built.sites.values()),
        init_digest=notes.digest,
        environment=environment_digest(facts),
        epochs=tuple(notes.epochs),
        sites=tuple(notes.sites()),
        alarms=alarm_records(notes.monitor.alarms if notes.monitor else ()),
        scores=(*logged, *(() if notes.diverged else final)),
    )
    return record, facts


def _check_weights(trial: TrialContext) -> None:
    """Check that the arm's model was trained, and not to the very weights of another seed.

    Each trial leaves a digest of its final weights in its folder, before it reads those of the arm's other seeds: of
    two trials that end at the same time, one at least sees the other.
    """
    weights = trial.notes.trained()
    if weights is None:
        raise FunctionError(
            "did not train the model that trial.apply returned, whose weights are all as they were: make the optimizer "
            "from the returned model, which is a copy, and hand that model to the trainer"
        )
    (trial.folder / WEIGHTS).write_text(weights, encoding="utf-8")
    for other in sorted(trial.folder.parent.glob(f"seed-*/{WEIGHTS}")):
        if other.parent != trial.folder and other.read_text(encoding="utf-8") == weights:
            raise CopyError(
                f"trained {trial.arm} to the same weights, to the last bit, with seed {trial.seed} as with "
                f"{other.parent.name.replace('-', ' ')}, so that seeds are copies of one run: take its initial weights "
                "and the order of its data from trial.seed_all, trial.stream or trial.seed, and replace any seed of "
                "its own, as in seed_everything(42) or TrainingArguments(seed=42), which is the default"
            )
