"""The argument of a training function: what honest pairing needs, and no more."""

from __future__ import annotations

import math
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import torch
from torch import nn

from slopewise.errors import FunctionError, ModelError
from slopewise.optim import param_groups, set_shared_gradient
from slopewise.records import EpochRecord, ScoreRecord
from slopewise.study._checkpoints import Checkpoints
from slopewise.study._function._log_file import LogFile
from slopewise.study._function._notes import Notes
from slopewise.study._function._number import number
from slopewise.study._optimizer import slope_settings
from slopewise.study._spec import StudySpec
from slopewise.study._stopping import TrialStopped, stop_requested
from slopewise.study._streams import seed_generators, stream
from slopewise.study._workplace import CHECKPOINTS
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

    A study calls `train(trial, **train.options)` once for each arm and seed, in a worker process. The function returns
    `{metric: value}` with the metrics of the study. docs/train.md has complete scripts.

    A trial stays in its process: copying a model that holds it copies a reference, and pickling it raises TypeError.

    Attributes:
        arm: Name of the arm.
        seed: Seed of the trial, a whole number from 0. All arms of a seed must start from the same weights and see the
            same data.
        folder: Folder of the trial's own. An interrupted trial finds its files there when it starts again. `log.txt`
            there holds what the function prints, `log.jsonl` what it logs.
        checkpoints: Checkpoints of the trial (`Checkpoints`), in a folder within its own that is removed once the trial
            has finished.
        stopped: True once `stop` was called.
        notes: Record of the trial so far.

    Example:
        >>> def train(trial, steps=3):
        ...     trial.seed_all()
        ...     x = torch.randn(64, 1, 8, 8, generator=trial.stream("data"))
        ...     model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 1))
        ...     model = trial.apply(model, x[:2])
        ...     optimizer = torch.optim.SGD(trial.param_groups(model, lr=0.01))
        ...     for step in range(1, steps + 1):
        ...         loss = (model(x).squeeze(1) - x.mean((1, 2, 3))).square().mean()
        ...         optimizer.zero_grad()
        ...         loss.backward()
        ...         optimizer.step()
        ...         trial.log(step, loss=loss)
        ...     return {"error": loss.item()}

        A study makes the context; made by hand, it lets you try a function:

        >>> import tempfile
        >>> spec = StudySpec(arms="relu,prelu_channel")
        >>> trial = TrialContext(spec, "prelu_channel", 0, Path(tempfile.mkdtemp()))
        >>> train(trial)["error"] < 1, [epoch.step for epoch in trial.notes.epochs]
        (True, [1, 2, 3])
    """

    def __init__(
        self,
        spec: StudySpec,
        arm: str,
        seed: int,
        folder: Path,
        on_epoch: OnEpoch | None = None,
        identity: str = "",
    ) -> None:
        self.arm, self.seed, self.folder = arm, seed, folder
        self.checkpoints = Checkpoints(folder / CHECKPOINTS, identity=identity)
        self.stopped = False
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
        """Seed the global generators of Python, NumPy and PyTorch: the same numbers in every arm of the seed.

        Libraries with generators of their own need their own call with `trial.seed`, such as MONAI's `set_determinism`.

        Example:
            >>> relu, prelu = (TrialContext(StudySpec(arms="relu,prelu_channel"), arm, 3, Path())
            ...                for arm in ("relu", "prelu_channel"))
            >>> relu.seed_all()
            >>> weights = nn.Linear(4, 4).weight
            >>> prelu.seed_all()
            >>> torch.equal(nn.Linear(4, 4).weight, weights)
            True
        """
        seed_generators(self.seed, "torch")

    def stream(self, name: str) -> torch.Generator:
        """Return a new generator on the CPU for one purpose, seeded alike in every arm of the seed.

        Give it to a `DataLoader` (`generator=trial.stream("order")`): its order, and the seeds of its workers, then
        depend neither on the arm nor on what else draws random numbers. For NumPy,
        `np.random.default_rng(trial.stream("x").initial_seed())`.

        Args:
            name: Purpose; other names give other numbers. Each call starts the stream anew.

        Example:
            >>> trial = TrialContext(StudySpec(arms="relu"), "relu", 0, Path())
            >>> first = torch.randperm(5, generator=trial.stream("order"))
            >>> torch.equal(torch.randperm(5, generator=trial.stream("order")), first)
            True
        """
        return stream(self.seed, f"function/{name}")

    def apply(self, model: nn.Module, example: Any) -> nn.Module:
        """Return a copy of the model with the arm's activation at every call site of an activation.

        Every arm, the control too, is converted by `slopewise.convert` with the settings `model.convert` of the spec,
        so that arms differ in their activations alone. Activations of any kind are replaced, PReLUs too; the arm
        `as_is` keeps them. The digest of all weights and buffers outside the activations is recorded: arms of a seed
        whose digests differ are compared as unpaired runs. The global random generators are left as they were. Notes
        about activations that stay unchanged go to the trial's log.

        Call it once, on the plain network, before the optimizer is made and before the model is moved, compiled or
        wrapped. Pretrained weights are loaded before, a checkpoint of the trial's own after it.

        Args:
            model: Network with its initial or pretrained weights. The returned copy is the one to train.
            example: Input for a forward pass, on the device of the model: a tensor (N, C, ...), or a tuple or dict of
                arguments.

        Raises:
            FunctionError: The model does not run on the example, has no activation to replace, is no module, or `apply`
                has been called before.

        Example:
            >>> trial = TrialContext(StudySpec(arms="relu,prelu_channel"), "prelu_channel", 0, Path())
            >>> model = nn.Sequential(nn.Conv3d(1, 4, 3), nn.ELU(), nn.Conv3d(4, 1, 1))
            >>> trial.apply(model, torch.zeros(2, 1, 8, 8, 8))[1]
            PReLU(num_parameters=4)
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
        """Return parameter groups for an optimizer, with the slopes in a group of their own.

        The learning rate of the slopes is `train.slope_lr_scale` of the spec, or the arm's own `slope_lr_scale`, times
        that of the weights. Their weight decay is `slope_weight_decay`, the arm's or that of the spec's `train`, which
        is 0 by default. Norms and biases get none, unless `norm_and_bias_weight_decay` is given: pass it too if the
        script has always decayed them.

        Args:
            model: The model that `apply` returned, one that holds it, or a part of it.
            lr: Learning rate of the weights. An arm's own `lr` in the spec takes its place.
            **options: Further arguments of `slopewise.param_groups`, such as `weight_decay`.

        Raises:
            FunctionError: `apply` has not been called, or the model shares no parameter with the one that it returned.

        Example:
            >>> trial = TrialContext(StudySpec(arms="relu,prelu_channel"), "prelu_channel", 0, Path())
            >>> model = trial.apply(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1)), torch.zeros(2, 3))
            >>> [(len(group["params"]), group["weight_decay"])
            ...  for group in trial.param_groups(model, lr=0.1, weight_decay=5e-4)]
            [(2, 0.0005), (2, 0.0), (1, 0.0)]
        """
        self._check_applied("param_groups", model)
        rate = lr if self._arm.lr is None else self._arm.lr
        return list(param_groups(model, lr=rate, **{**slope_settings(self._spec.train, self._arm), **options}))

    def watch(self, model: nn.Module, every: int | None = None) -> Monitor:
        """Watch units and slopes until the function returns; the training gives the same bits as without.

        Samples and alarms are part of the trial's record: after each `log`, the latest sample. Forward passes are seen
        that call the given model, so give it the module that the training loop calls. If none was seen, the trial's log
        says so. A second call ends the first monitor.

        Args:
            model: The model that `apply` returned, one that holds it, or a part of it.
            every: Number of optimizer steps of which one is sampled; None takes `monitor.every` of the spec, 0 watches
                nothing.

        Returns:
            The `slopewise.Monitor`, started. It is also a context manager, to end it earlier.

        Raises:
            FunctionError: As for `param_groups`.
            ValueError: No parameter requires a gradient.

        Example:
            >>> trial = TrialContext(StudySpec(arms="relu,prelu_channel"), "prelu_channel", 0, Path())
            >>> model = trial.apply(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1)), torch.zeros(2, 3))
            >>> with trial.watch(model, every=5) as monitor:
            ...     pass
            >>> monitor.every
            5
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
            FunctionError: A step decreases or is no whole number, or a value is not one number.

        Example:
            >>> import tempfile
            >>> trial = TrialContext(StudySpec(arms="relu"), "relu", 0, Path(tempfile.mkdtemp()))
            >>> trial.log(10, loss=0.7, lr=0.1)
            >>> trial.log(10, val_loss=torch.tensor(0.5))
            >>> [(row.part, row.metric, row.value) for row in trial.notes.scores]
            [('train', 'loss', 0.7), ('validation', 'loss', 0.5)]
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

    @property
    def stop_requested(self) -> bool:
        """True once the study is to end early, as by SIGTERM from Slurm or Kubernetes: save a checkpoint, and `stop`.

        About 25 seconds are left then (`--grace`). A function that does not look is killed after them, and its trial
        starts again from its latest checkpoint, or from the beginning.
        """
        return stop_requested()

    def stop(self) -> NoReturn:
        """End this attempt at the trial without a record: the trial runs again when the study goes on.

        Raises:
            TrialStopped: Always; let it pass. It is no Exception, which trainers may catch.
            FunctionError: `stop_requested` is False.
        """
        if not stop_requested():
            raise FunctionError("called trial.stop, although trial.stop_requested is False: return the metrics instead")
        self.stopped = True
        raise TrialStopped

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
