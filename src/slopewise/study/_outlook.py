"""Outlook of a study before its first trial: facts of its data and models, and the time of a step on this machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import torch

from slopewise.events import Prepared, Reading, TrialKey
from slopewise.machine import code_commits
from slopewise.records import StudyRecord
from slopewise.study._batches import augmentation
from slopewise.study._cells import spec_of
from slopewise.study._pace import Pace, pace_of
from slopewise.study._preflight import Preflight, preflight
from slopewise.study._spec import StudySpec
from slopewise.study._trial import make_fabric
from slopewise.study._workplace import Workplace


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
    epochs, pace, device = _epochs(spec, trials), Pace(), None
    if isinstance(data, Workplace):
        pace = Pace(unknown="the training is your own")
    else:
        if trials:
            pace = pace_of(spec, data, epochs)
        augment, device = asdict(augmentation(spec, data)), _device(spec)
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
        device=device,
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


def _device(spec: StudySpec) -> str:
    """Return the type of the device that trials use on this machine."""
    if spec.hardware.accelerator == "cpu":
        return "cpu"  # Fabric takes its time to import
    return make_fabric(spec.hardware).device.type


def _idle_accelerator(spec: StudySpec) -> str | None:
    if spec.hardware.accelerator != "cpu":
        return None
    if torch.cuda.is_available():
        return f"cuda ({torch.cuda.get_device_name()})"
    return "mps" if torch.backends.mps.is_available() else None
