"""Callback that watches a training run of transformers' Trainer. Needs `pip install transformers accelerate`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from slopewise.monitor._callback import Watching
from slopewise.monitor.sinks import MLflow, Sink, TensorBoard, WandB

if TYPE_CHECKING:
    from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
else:
    try:
        from transformers import TrainerCallback
    except ModuleNotFoundError as error:
        if error.name != "transformers":
            raise
        message = "slopewise.monitor.huggingface needs 'transformers': pip install transformers accelerate"
        raise ModuleNotFoundError(message, name="transformers") from error


class WatchCallback(Watching, TrainerCallback):
    """Watches the model that `trainer.train` trains, with a `slopewise.Monitor`.

    It starts when training does, after a checkpoint was loaded, and ends with it. Samples go to the trackers
    in `report_to`: MLflow and Weights & Biases into the trainer's own run, TensorBoard as a run "slopewise" within the
    folder of the trainer's. Sinks count the trainer's steps (of a run that was resumed: since its first start). With
    several ranks, all are counted together and rank 0 alone logs.

    The Trainer does not report exceptions to callbacks. A run that an exception ended is closed when the callback
    begins another, or when the process ends; `callback.end(error)` closes it at once.

    Args:
        every: Number of optimizer steps of which one is sampled.
        sinks: Further sinks, see `slopewise.monitor.sinks`.
        trackers: True to log to the trackers in `report_to`.
        thresholds: Thresholds of the alarms; None takes the defaults.
        evaluation: True to count forward passes in evaluation mode, too.
        name: Name of the run, for reports.

    Attributes:
        monitor: Monitor of the latest `train`; None before the first. `callback.monitor.report("watch.html")` writes
            its page.

    Example:
        >>> callback = WatchCallback(every=10)  # Trainer(callbacks=[callback])
        >>> callback.every, callback.monitor is None
        (10, True)
    """

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Start."""
        model: nn.Module = kwargs["model"]
        sinks = list(_sinks(args)) if self.trackers and state.is_world_process_zero else []
        self.begin(model, sinks, state.global_step, ranks=args.world_size)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Close."""
        self.end()


def _sinks(args: TrainingArguments) -> Iterator[Sink]:
    """Return sinks for the trackers of the Trainer, whose runs it begins before it calls other callbacks."""
    names = args.report_to or ()
    if "tensorboard" in names:
        yield TensorBoard(_tensorboard_folder(args) / "slopewise")
    if "mlflow" in names:
        yield MLflow()
    if "wandb" in names:
        yield WandB()


def _tensorboard_folder(args: TrainingArguments) -> Path:
    """Return the folder of the Trainer's event file; in one folder, TensorBoard follows the latest file alone."""
    top = Path(os.environ.get("TENSORBOARD_LOGGING_DIR") or Path(args.output_dir or ".", "runs")).expanduser()
    latest = max(top.rglob("events.out.tfevents.*"), key=lambda file: file.stat().st_mtime, default=None)
    return top if latest is None else latest.parent
