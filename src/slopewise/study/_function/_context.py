"""The argument of a training function: what honest pairing needs, and no more."""

from __future__ import annotations

import math
import random
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import torch
from torch import nn

from slopewise.errors import FunctionError, ModelError
from slopewise.optim import param_groups, set_shared_gradient
from slopewise.records import EpochRecord, ScoreRecord
from slopewise.study._function._log_file import LogFile
from slopewise.study._function._notes import Notes
from slopewise.study._spec import StudySpec
from slopewise.study._streams import derive, stream
from slopewise.study.arms import activation_factory
from slopewise.study.models import BuiltModel, convert_for_arm

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from slopewise.monitor import Monitor

    OnEpoch = Callable[[EpochRecord, Sequence[ScoreRecord]], None]


class Diverged(Exception):  # noqa: N818 - ends a training, as a result of the study
    """Raised by `TrialContext.log` for a value that is not finite: the training has diverged and ends here.

    The trial counts as diverged even if the function catches the exception.
    """


class TrialContext:
    """One trial of a user's training function: its arm and seed, and what keeps the arms of a seed comparable.

    A study calls `train(trial)`, or `train(trial, **train.options)`, once for each arm and seed, in a worker process.
    The function returns `{metric: value}` for the metrics of the study.

    Attributes:
        arm: Name of the arm.
        seed: Seed of the trial. All arms of a seed must start from the same weights and see the same data.
        folder: Folder of the trial's own, for checkpoints; it is kept if the study is interrupted and goes on. What the
            function prints is in `log.txt` there.
        notes: Record of the trial so far.

    Example:
        >>> from slopewise.study import StudySpec
        >>> import tempfile
        >>> spec = StudySpec(arms="relu,prelu_channel", seeds=2)
        >>> trial = TrialContext(spec, "prelu_channel", 0, Path(tempfile.mkdtemp()))
        >>> trial.seed_all()
        >>> model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(2))
        >>> model(torch.zeros(1, 1, 8, 8)).shape
        torch.Size([1, 2])
        >>> trial.apply(model, torch.zeros(2, 1, 8, 8))[1]
        PReLU(num_parameters=4)
    """

    def __init__(self, spec: StudySpec, arm: str, seed: int, folder: Path, on_epoch: OnEpoch | None = None) -> None:
        self.arm, self.seed, self.folder = arm, seed, folder
        self._spec, self._arm = spec, spec.arm(arm)
        self.notes = Notes(tuple(metric.name for metric in spec.metrics), LogFile(folder / "log.jsonl"))
        self._on_epoch = on_epoch

    def __deepcopy__(self, memo: object) -> TrialContext:
        """Return the trial itself: a copied model that holds it, such as a LightningModule, logs to the same trial."""
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a trial cannot be sent to another process or saved, since what is logged there would be lost: hand on "
            "trial.arm, trial.seed or trial.folder instead"
        )

    def seed_all(self) -> None:
        """Seed the global generators of Python, NumPy and PyTorch: the same numbers in every arm of the seed."""
        import numpy as np

        random.seed(derive(self.seed, "python"))
        np.random.seed(derive(self.seed, "numpy") % 2**32)  # noqa: NPY002 - the one that users' code draws from
        torch.manual_seed(derive(self.seed, "torch"))

    def stream(self, name: str) -> torch.Generator:
        """Return a new generator on the CPU for one purpose, seeded alike in every arm of the seed.

        Give it to a `DataLoader` (`generator=trial.stream("order")`), whose order then depends neither on the arm nor
        on what else draws random numbers. For NumPy, `np.random.default_rng(trial.stream("x").initial_seed())`.

        Args:
            name: Purpose; other names give other numbers.
        """
        return stream(self.seed, f"function/{name}")

    def apply(self, model: nn.Module, example: Any) -> nn.Module:
        """Put the arm's activation in the place of the model's own at every call site, and return the model.

        The conversion is `slopewise.convert`, set by `model.convert` of the spec, in every arm, so that arms differ in
        their activations alone. The digest of all other weights is recorded: where it differs between the arms of a
        seed, they are not compared in pairs. Random generators are left as they were.

        Args:
            model: Network with its initial or pretrained weights; use the returned one afterwards.
            example: Input for a forward pass: a tensor, or a tuple or dict of arguments.

        Raises:
            ModelError: The model does not run on the example, or has no activation to replace.
        """
        if self.notes.built is not None:
            raise FunctionError("called trial.apply twice: put the networks into one module, and apply the arm once")
        if not isinstance(model, nn.Module):
            raise FunctionError(f"called trial.apply with a {type(model).__name__}, not with a torch.nn.Module")
        try:
            built = convert_for_arm(
                model, activation_factory(self._arm), example, self._spec.model.convert, seed=self.seed
            )
        except ModelError as error:
            raise FunctionError(f"called trial.apply, which failed: {type(model).__name__} {error}") from error
        for note in built.notes:
            print(f"trial.apply: {note}")  # noqa: T201 - to the trial's log
        set_shared_gradient(built.model, self._arm.shared_gradient or self._spec.train.shared_gradient)
        self.notes.begin(built)
        return built.model

    def param_groups(self, model: nn.Module, *, lr: float, **options: Any) -> list[dict[str, Any]]:
        """Return parameter groups for an optimizer, with the slopes in a group of their own and without weight decay.

        Args:
            model: The model that `apply` returned, or one that holds it.
            lr: Learning rate of the weights. An arm's own `lr` in the spec takes its place.
            **options: Further arguments of `slopewise.param_groups`, such as `weight_decay`.

        Returns:
            Groups, as `slopewise.param_groups` returns them.
        """
        self._check_applied("param_groups", model)
        scale = self._spec.train.slope_lr_scale if self._arm.slope_lr_scale is None else self._arm.slope_lr_scale
        rate = lr if self._arm.lr is None else self._arm.lr
        return list(param_groups(model, lr=rate, **{"slope_lr_scale": scale, **options}))

    def watch(self, model: nn.Module, every: int | None = None) -> Monitor:
        """Watch units and slopes while the model trains, which changes no bit of it, until the function returns.

        Args:
            model: The model that `apply` returned, or one that holds it.
            every: Number of optimizer steps of which one is sampled; None takes `monitor.every` of the spec, 0 watches
                nothing.

        Returns:
            A `slopewise.Monitor`, started, and a context manager that ends it; its samples and alarms are part of the
            trial's record.
        """
        from slopewise.monitor import Monitor

        built = self._check_applied("watch", model)
        rate = self._spec.monitor.every if every is None else every
        monitor = Monitor(model, rate or sys.maxsize, activations=built.sites.values())
        if rate:
            self.notes.watch(monitor.start())
        return monitor

    def log(self, step: int, **values: float) -> None:
        """Note values after a step, for the learning curves.

        Several calls may share a step; of two values of one name, the later one counts. The values are also written to
        `log.jsonl` in the trial's folder: a function that resumes from a checkpoint goes on with the same curves.

        | name | part of the record |
        | --- | --- |
        | a metric of the study, alone or after `val_` or `eval_` | score on the validation part |
        | `train_` and a metric; `loss`, `train_loss` | score on the training part |
        | `val_loss`, `eval_loss` | loss on the validation part |
        | `lr`, `learning_rate` | learning rate |
        | another | kept with the scores of the validation part |

        Args:
            step: Number of optimizer steps so far; does not decrease.
            **values: Numbers, or tensors of one number.

        Raises:
            Diverged: A value is NaN or infinite: the training ends here, and the trial counts as diverged.
        """
        started = time.perf_counter()
        if self.notes.diverged:  # the function caught the exception and went on
            raise Diverged(self.notes.diverged[1])
        numbers = {name: number(value, f"trial.log({name}=...)") for name, value in values.items()}
        before = len(self.notes.epochs)
        self.notes.log(step, numbers)
        if bad := {name: value for name, value in numbers.items() if not math.isfinite(value)}:
            name, value = next(iter(bad.items()))
            self.notes.diverged = (step, f"{name} became {value} at step {step}")
            raise Diverged(self.notes.diverged[1])
        if self._on_epoch:
            for epoch in self.notes.epochs[min(before, len(self.notes.epochs) - 1) :]:
                self._on_epoch(epoch, self.notes.scores_at(epoch.epoch))
        self.notes.pause(time.perf_counter() - started)

    def _check_applied(self, method: str, model: nn.Module) -> BuiltModel:
        """Return the arm's model, which shares parameters with the one that a method is called with."""
        built = self.notes.built
        if built is None:
            raise FunctionError(f"called trial.{method} before trial.apply, which returns the model to train")
        if set(built.model.parameters()).isdisjoint(model.parameters()):
            raise FunctionError(
                f"called trial.{method} with a model that is not the one that trial.apply returned: apply works on a "
                "copy, so write `model = trial.apply(model, example)`"
            )
        return built


def number(value: Any, what: str) -> float:
    """Return a number, or a tensor or array of one, as a float.

    Raises:
        FunctionError: It is no number.
    """
    size = getattr(value, "numel", None)
    if isinstance(value, (str, bytes, bool)) or value is None or (callable(size) and size() != 1):
        raise FunctionError(f"gave {_shown(value)} as {what}: it must be one number")
    try:
        return float(value.detach() if isinstance(value, torch.Tensor) else value)
    except (TypeError, ValueError) as error:
        raise FunctionError(f"gave {_shown(value)} as {what}: it must be one number") from error


def _shown(value: object) -> str:
    if isinstance(value, torch.Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    return f"{type(value).__name__} {value!r:.40}" if value is not None else "None"
