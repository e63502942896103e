"""Outlook of a study before its first trial: facts of its data and models, and the time of a step on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import torch

from slopewise.events import Prepared, Reading, TrialKey
from slopewise.machine import code_commits
from slopewise.records import StudyRecord
from slopewise.study._batches import augmentation
from slopewise.study._cells import spec_of
from slopewise.study._preflight import Preflight, preflight
from slopewise.study._references import describe
from slopewise.study._spec import StudySpec
from slopewise.study._trial import training_steps
from slopewise.study._workplace import Workplace
from slopewise.study.data import ImageData
from slopewise.study.models import MODELS

_STEPS = 6  # maximum number of timed steps, after one that warms up
_BUDGET = 1.5  # seconds after which no further step is timed
_WORTH = 120.0  # seconds of training from which on another memory format is tried


def prepare(
    spec: StudySpec,
    *,
    trials: Sequence[TrialKey],
    side_by_side: int,
    folder: Path | None = None,
    on_event: Callable[[Reading], None] | None = None,
) -> tuple[Preflight, Prepared]:
    """Check a study before its first trial, and collect the facts that `Prepared` reports.

    Args:
        spec: Spec of the study.
        trials: Trials to run.
        side_by_side: Number of trials that run at a time.
        folder: Directory for images that do not fit in memory; None is the system's for temporary files.
        on_event: Called with the progress while images are read.

    Raises:
        SlopewiseError: The data, a model or an arm cannot be used.
    """
    checked = preflight(spec, folder=folder, on_event=on_event)
    data, augment = checked.data, dict[str, Any]()
    epochs, pace = _epochs(spec, trials), _Pace()
    if isinstance(data, Workplace):
        pace = _Pace(unknown="the training is your own")
    else:
        if trials:
            pace = _pace(spec, data, epochs)
        augment = asdict(augmentation(spec, data))
    prepared = Prepared(
        facts=checked.facts,
        spec=spec.plain(),
        augmentation=augment,
        trials=len(trials),
        epochs=epochs,
        side_by_side=side_by_side,
        seconds_per_step=pace.seconds,
        unknown_pace=pace.unknown,
        channels_last=pace.channels_last,
        idle=_idle_accelerator(spec),
    )
    return checked, prepared


def described(prepared: Prepared, record: StudyRecord | None) -> dict[str, Any]:
    """Return facts for the store that no trial's record has: the augmentation at work, and the commits of the code.

    Args:
        prepared: Facts before the first trial of this run.
        record: Study so far, whose commits stay listed; None if there is none.
    """
    known = {} if record is None else record.data.get("code", {})
    code = {name: list(dict.fromkeys([*known.get(name, []), commit])) for name, commit in code_commits().items()}
    facts = {"augmentation": prepared.augmentation, "code": known | code}
    return {key: value for key, value in facts.items() if value}


def _epochs(spec: StudySpec, trials: Sequence[TrialKey]) -> float:
    """Return the total number of epochs of some trials, including those of the arms that they start from."""

    @cache
    def of_trial(name: str, cell: str) -> float:
        inside = spec_of(spec, TrialKey(name, spec.seeds[0], cell))
        arm = inside.arm(name)
        own = inside.train.epochs if arm.epochs is None else arm.epochs
        return own + (of_trial(arm.start.arm, cell) if arm.start else 0)

    return sum(of_trial(trial.arm, trial.cell) for trial in trials)


class _Pace(NamedTuple):
    """Time of a training step of the control.

    Attributes:
        seconds: Median of its first steps; None if none could be timed.
        unknown: Reason for that.
        channels_last: Its time in channels last, as a fraction of that as built; None if it was not compared.
    """

    seconds: float | None = None
    unknown: str | None = None
    channels_last: float | None = None


def _pace(spec: StudySpec, data: ImageData, epochs: float) -> _Pace:
    """Return the time of the control's training step, for a study of that many epochs in all."""
    if spec.hardware.devices > 1:
        return _Pace(unknown="steps of several devices are not timed beforehand")
    threads = torch.get_num_threads()
    torch.set_num_threads(spec.hardware.threads)
    try:
        with torch.random.fork_rng():
            seconds = median(_timed([spec], data)[0])
            layout = spec.model.memory_format, spec.hardware.accelerator
            own = spec.model.name not in MODELS and layout == ("as_built", "cpu")
            if not own or seconds * epochs * len(data.train_images) / spec.train.batch_size < _WORTH:
                return _Pace(seconds)
            model = spec.model.model_copy(update={"memory_format": "channels_last"})
            pairs = zip(*_timed([spec, spec.model_copy(update={"model": model})], data), strict=True)
            return _Pace(seconds, channels_last=median(last / built for built, last in pairs))
    except Exception as error:  # a user's model can raise anything; its trials will report it
        return _Pace(unknown=f"no step could be timed: the control raised {describe(error)}")
    finally:
        torch.set_num_threads(threads)


def _timed(specs: Sequence[StudySpec], data: ImageData) -> list[list[float]]:
    """Return the times of the first training steps of the control by each spec; the specs take turns."""
    running = [training_steps(spec, spec.arm(spec.control), spec.seeds[0], data) for spec in specs]
    seconds: list[list[float]] = [[] for _ in specs]
    for steps in running:
        next(steps)  # warms up
    while len(seconds[0]) < _STEPS and sum(map(sum, seconds)) < _BUDGET:
        for steps, own in zip(running, seconds, strict=True):
            started = time.perf_counter()
            next(steps)
            own.append(time.perf_counter() - started)
    return seconds


def _idle_accelerator(spec: StudySpec) -> str | None:
    if spec.hardware.accelerator != "cpu":
        return None
    if torch.cuda.is_available():
        return f"cuda ({torch.cuda.get_device_name()})"
    return "mps" if torch.backends.mps.is_available() else None
