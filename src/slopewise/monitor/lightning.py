"""Callback for Lightning's Trainer. Needs `pip install slopewise[lightning]`, or pytorch-lightning."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slopewise.monitor._callback import Watching
from slopewise.monitor.sinks import MLflow, Sink, TensorBoard, WandB
from slopewise.monitor.sinks._metrics import layer_metrics, run_metrics
from slopewise.recording import Header, Sample

if TYPE_CHECKING:
    from lightning.pytorch import Callback, LightningModule, Trainer
    from lightning.pytorch.loggers import Logger
else:
    try:
        from lightning.pytorch import Callback
    except ModuleNotFoundError as first:
        if first.name != "lightning":
            raise
        try:
            from pytorch_lightning import Callback  # the same code under its older name
        except ModuleNotFoundError as error:
            if error.name != "pytorch_lightning":
                raise
            message = "slopewise.monitor.lightning needs 'lightning': pip install 'slopewise[lightning]'"
            raise ModuleNotFoundError(message, name="lightning") from error


class WatchCallback(Watching, Callback):
    """Watches the model that `trainer.fit` trains, with a `slopewise.Monitor`.

    It starts when training does, after the sanity check and after a checkpoint was loaded, and ends with it, also
    by an exception. Samples go to the trainer's loggers: TensorBoard, MLflow and Weights & Biases as by the sinks
    of these names, any other the same metrics. Sinks count the trainer's steps (of a run that was resumed: since its
    first start). With several ranks, all are counted together and rank 0 alone logs.

    Counted as a forward pass is a call of the LightningModule, or else all that `training_step` calls. Under manual
    optimization only the first of several passes in one `training_step` is seen, unless each calls the module.

    Args:
        every: Number of optimizer steps of which one is sampled.
        sinks: Further sinks, see `slopewise.monitor.sinks`.
        trackers: True to log to the trainer's loggers.
        thresholds: Thresholds of the alarms; None takes the defaults.
        evaluation: True to count forward passes in evaluation mode, too.
        name: Name of the run, for reports.

    Attributes:
        monitor: Monitor of the latest `fit`; None before the first. `callback.monitor.report("watch.html")` writes its
            page.

    Example:
        >>> callback = WatchCallback(every=10)  # Trainer(callbacks=[callback])
        >>> callback.every, callback.monitor is None
        (10, True)
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start."""
        loggers = trainer.loggers if self.trackers and trainer.is_global_zero else []
        self.begin(pl_module, [sink_of(logger) for logger in loggers], trainer.global_step, ranks=trainer.world_size)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Begin a forward pass, whether `training_step` calls the module or parts of it."""
        if self.monitor is not None:
            self.monitor.pass_begins(batch)

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Any) -> None:
        """End the forward pass."""
        if self.monitor is not None:
            self.monitor.pass_ends()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        """End the forward pass if there was no backward pass."""
        if self.monitor is not None:
            self.monitor.pass_ends()

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Close."""
        self.end()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Close, and record the exception."""
        self.end(exception)


def sink_of(logger: Logger) -> Sink:
    """Return the sink for a logger of Lightning, of either of its packages."""
    kinds = {kind.__name__ for kind in type(logger).__mro__}
    any_logger: Any = logger
    if "TensorBoardLogger" in kinds:
        return TensorBoard(any_logger.experiment)
    if "MLFlowLogger" in kinds:
        return MLflow(any_logger.run_id, client=any_logger.experiment)
    if "WandbLogger" in kinds:
        return WandB(any_logger.experiment)
    return _Logged(logger)


class _Logged(Sink):
    """Sink for any other logger, which takes numbers."""

    def __init__(self, logger: Logger) -> None:
        self.logger = logger

    def start(self, header: Header) -> None:
        self.logger.log_hyperparams({"slopewise_every": header.every})

    def sample(self, sample: Sample) -> None:
        self.logger.log_metrics(run_metrics(sample) | layer_metrics(sample), sample.step)
