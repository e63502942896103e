"""One attempt at one trial, as each engine makes it in its worker processes."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slopewise.errors import CopyError, FunctionError
from slopewise.events import Ended, Epoch, TrialKey
from slopewise.machine import environment, keep_memory
from slopewise.records import EpochRecord, ScoreRecord
from slopewise.study._cells import failed, spec_of
from slopewise.study._checkpoints import Checkpoints
from slopewise.study._function import run_function
from slopewise.study._identity import identity_of
from slopewise.study._spec import StudySpec
from slopewise.study._stopping import TrialStopped, stop_requested
from slopewise.study._trial import run_trial
from slopewise.study._workplace import TrialData, Workplace
from slopewise.study.engines._base import Begun, Stopped
from slopewise.study.engines._state import state_restored

if TYPE_CHECKING:
    from slopewise.study.data import ImageData


def attempt(
    spec: StudySpec, trial: TrialKey, data: TrialData, on_event: Callable[[Begun | Epoch], object] = lambda _: None
) -> Ended | Stopped:
    """Run a trial in this process, and return its end, with a failed record if it raises.

    A trial that was asked to stop (`request_stop`) saves a checkpoint and returns `Stopped`. The next attempt at it
    goes on from there, in whatever process that has the same folder.

    Args:
        spec: Spec of the study.
        trial: The trial.
        data: Images of the study, or the folders of a training function's trials.
        on_event: Called with `Begun` at once, and with an `Epoch` after each epoch.

    Example:
        >>> from slopewise.study import StudySpec
        >>> from slopewise.study.data import load_data
        >>> spec = StudySpec(arms="relu", seeds=1, data={"train_size": 100}, train={"epochs": 1})
        >>> reports = []
        >>> ended = attempt(spec, TrialKey("relu", 0), load_data(spec.data), reports.append)
        >>> ended.record.status, [type(report).__name__ for report in reports]
        ('finished', ['Begun', 'Epoch'])
    """

    def on_epoch(epoch: EpochRecord, scores: Sequence[ScoreRecord]) -> None:
        on_event(Epoch(trial, epoch, tuple(scores)))

    if stop_requested():
        return Stopped(trial)
    on_event(Begun(trial))
    if isinstance(data, Workplace) and data.keep_memory:
        keep_memory()
    try:
        with state_restored():
            own = spec_of(spec, trial)
            identity = identity_of(own, trial, data)
            if own.train.function is not None:
                place = data if isinstance(data, Workplace) else Workplace(Path.cwd())
                place = place.in_cell(trial.cell)
                record, facts = run_function(own, trial.arm, trial.seed, place, identity, on_epoch)
            else:
                images, settings = _images_and_files(data, trial, identity)
                compare = not trial.cell
                record = run_trial(own, trial.arm, trial.seed, images, on_epoch, compare=compare, **settings)
                facts = environment()
    except TrialStopped:
        return Stopped(trial)
    except FunctionError as error:
        return Ended(failed(trial, str(error)), None, fault=str(error), hopeless=isinstance(error, CopyError))
    except (Exception, SystemExit):  # a user's model can raise anything; its traceback is the result
        # As text: another process may lack the exception's class, or fail to unpickle it.
        return Ended(failed(trial, traceback.format_exc()), None)
    rate = dict(trial.rates).get(trial.arm)
    return Ended(replace(record, cell=trial.cell, tuned_lr=rate, identity=identity), facts)


def _images_and_files(data: TrialData, trial: TrialKey, identity: str) -> tuple[ImageData | None, dict[str, Any]]:
    """Return the images for a trial of the study's own loop, and what `run_trial` has to know of its files."""
    if not isinstance(data, Workplace):
        return data, {}
    place, settings = data.in_cell(trial.cell), dict[str, Any]()
    if data.checkpoint_every:
        folder = place.checkpoints_of(trial.arm, trial.seed)
        settings |= {
            "checkpoints": Checkpoints(folder, identity=identity),
            "checkpoint_every": data.checkpoint_every,
        }
    if data.keep_weights:
        settings["weights"] = place.weights_of(trial.arm, trial.seed)
    return data.images, settings
