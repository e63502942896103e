"""Running of a training function as one trial."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import torch

from slopewise.errors import FunctionError
from slopewise.records import EpochRecord, ScoreRecord, TrialRecord
from slopewise.study._function._context import Diverged, TrialContext
from slopewise.study._function._output import output_to
from slopewise.study._function._preflight import training_function
from slopewise.study._function._record import record_of, scores_of
from slopewise.study._identity import source_digest
from slopewise.study._spec import StudySpec
from slopewise.study._stopping import TrialStopped
from slopewise.study._weight_files import save_weights
from slopewise.study._workplace import LOG, Workplace

OnEpoch = Callable[[EpochRecord, Sequence[ScoreRecord]], None]


def run_function(
    spec: StudySpec,
    arm: str,
    seed: int,
    workplace: Workplace,
    identity: str = "",
    on_epoch: OnEpoch | None = None,
) -> tuple[TrialRecord, dict[str, Any]]:
    """Call the training function of a spec for one trial, and return its record and the facts of its environment.

    Args:
        spec: Spec of the study.
        arm: Name of the arm.
        seed: Seed of the trial.
        workplace: Folders of the trials.
        identity: Identity of the trial, by which its checkpoints are known.
        on_epoch: Called after each `TrialContext.log`.

    Raises:
        TrialStopped: The function called `TrialContext.stop`.
        FunctionError: The function misuses the trial, or returns something else than its metrics; the message begins
            with its name. Its other exceptions propagate unchanged.
    """
    torch.set_num_threads(spec.hardware.threads)
    function = training_function(spec)
    folder = workplace.of(arm, seed)
    folder.mkdir(parents=True, exist_ok=True)
    trial = TrialContext(spec, arm, seed, folder, on_epoch, identity)
    started, final = time.perf_counter(), list[ScoreRecord]()
    try:
        with output_to(folder / LOG):
            with suppress(Diverged):
                returned = function(trial, **spec.train.options)
                if trial.stopped:  # it has caught the exception
                    raise TrialStopped
                if trial.notes.diverged is None:
                    final = scores_of(returned, spec, trial)
            seconds = time.perf_counter() - started
            trial.notes.close()
            for note in trial.notes.monitor.notes if trial.notes.monitor else ():
                print(f"trial.watch: {note}")  # noqa: T201 - to the trial's log
            record, facts = record_of(trial, final, seconds=seconds, source=source_digest(function))
            if workplace.keep_weights and trial.notes.built and not record.diverged:
                save_weights(trial.notes.built.model, workplace.weights_of(arm, seed))
            return record, facts
    except FunctionError as error:
        raise type(error)(f"train function '{spec.train.function}' {error}") from error
    except SystemExit as error:
        raise FunctionError(
            f"train function '{spec.train.function}' ended the program (sys.exit, status {error.code}). If it reads "
            f"the command line, as by argparse, give it train.options instead; its output is in '{folder / LOG}'"
        ) from error
    finally:
        trial.notes.close()
