"""Running of a trial: training epoch by epoch, until its end or a divergence."""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from slopewise.monitor import Monitor
from slopewise.records import EpochRecord, Part, ScoreRecord, TrialRecord
from slopewise.study._checkpoints import Checkpoints
from slopewise.study._operator_cost import compare_operators, holds_our_layers, why_not_compared
from slopewise.study._spec import StudySpec
from slopewise.study._spec_tables import ArmSpec
from slopewise.study._streams import seed_generators
from slopewise.study._trial._donor import set_up
from slopewise.study._trial._fabric import make_fabric
from slopewise.study._trial._guard import Divergence, DivergenceGuard
from slopewise.study._trial._information import layer_scores
from slopewise.study._trial._loop import Loop, Scores
from slopewise.study._trial._ranks import on_ranks
from slopewise.study._trial._recorder import Recorder
from slopewise.study._trial._saver import Saver, resume, state_of
from slopewise.study._trial._setup import Setup, still
from slopewise.study._weight_files import save_weights
from slopewise.study._workplace import EVERY
from slopewise.study.data import ImageData, read_data
from slopewise.study.tasks import make_task

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

    from slopewise.study._trial._fabric import Device

OnEpoch = Callable[[EpochRecord, Sequence[ScoreRecord]], None]
Saving = tuple[Checkpoints | None, float]
"""Checkpoints of a trial, and the number of seconds between two."""


def run_trial(
    spec: StudySpec,
    arm: str,
    seed: int,
    data: ImageData | None = None,
    on_epoch: OnEpoch | None = None,
    *,
    compare: bool = True,
    checkpoints: Checkpoints | None = None,
    checkpoint_every: float = EVERY,
    weights: Path | None = None,
) -> TrialRecord:
    """Run one trial to its end, which may be a divergence, from its latest checkpoint on.

    Args:
        spec: Spec of the study.
        arm: Name of the arm.
        seed: Seed of all random streams.
        data: Loaded data, which several trials can share; None loads them here.
        on_epoch: Called after each epoch with its record and its scores.
        compare: True to time training steps with and without the compiled kernels after the trial of the first seed.
        checkpoints: Checkpoints of this very trial; None neither reads nor saves any. A trial on several devices has
            none in any case.
        checkpoint_every: Number of seconds from the start, or from one checkpoint to the next.
        weights: File for the state dict of the network at the end, unless the trial diverges; None keeps none.

    Raises:
        TrialStopped: `slopewise.study.engines.request_stop` was called: after the current step, a checkpoint is saved.
        SlopewiseError: The data, the activation or the model cannot be used. Other exceptions of a user's model
            propagate unchanged from a trial on one device.
        RankError: An exception in a trial on several devices; its message ends with the traceback.
        RankLost: One of the processes of a trial on several devices has died.
    """
    hardware = spec.hardware
    torch.set_num_threads(hardware.threads)
    data = data or read_data(spec.data, make_task(spec.task).targets)
    if hardware.devices > 1:
        rank = partial(_run_rank, spec=spec, arm=arm, seed=seed, data=data, compare=compare, weights=weights)
        return on_ranks(hardware.devices, rank, on_epoch)
    saving = checkpoints, checkpoint_every
    return _run_and_compare(
        make_fabric(hardware), spec, spec.arm(arm), seed, data, on_epoch, saving, compare=compare, weights=weights
    )


def training_steps(spec: StudySpec, arm: ArmSpec, seed: int, data: ImageData) -> Iterator[None]:
    """Yield after each training step of a network of the arm whose weights do not move, without end."""
    return Trial(make_fabric(spec.hardware), spec, still(arm), seed, data).loop.steps()


def _run_rank(
    on_epoch: OnEpoch,
    spec: StudySpec,
    arm: str,
    seed: int,
    data: ImageData,
    *,
    compare: bool,
    weights: Path | None,
) -> TrialRecord:
    fabric = make_fabric(spec.hardware)
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it would greet in every rank of every trial
    fabric.launch()  # joins the other ranks, and sets a number of threads
    torch.set_num_threads(spec.hardware.threads)
    return _run_and_compare(fabric, spec, spec.arm(arm), seed, data, on_epoch, compare=compare, weights=weights)


def _run_and_compare(
    fabric: Device,
    spec: StudySpec,
    arm: ArmSpec,
    seed: int,
    data: ImageData,
    on_epoch: OnEpoch | None,
    saving: Saving = (None, EVERY),
    *,
    compare: bool,
    weights: Path | None,
) -> TrialRecord:
    """Run the trial; in the arm's first seed, time its steps afterwards with and without the compiled kernels."""
    trial = Trial(fabric, spec, arm, seed, data, saving)
    record = trial.run(on_epoch)
    if weights and not record.diverged:
        save_weights(trial.setup.built.model, weights, write=fabric.is_global_zero)
    if not compare or seed != spec.seeds[0] or not holds_our_layers(trial.setup.built.model):
        return record
    del trial
    gc.collect()  # its optimizer and scheduler refer to each other; a second network needs their room

    def steps() -> Iterator[None]:
        return Trial(fabric, spec, still(arm), seed, data).loop.steps()

    cost = compare_operators(
        steps,
        threads=spec.hardware.threads,
        why_not=why_not_compared(fabric.device.type, fabric.world_size),
    )
    return replace(record, operator_costs=(cost,))


class Trial:
    """One training run.

    Attributes:
        setup, loop, monitor: Parts of the trial; `monitor` is None if the spec takes no samples.
    """

    def __init__(
        self,
        fabric: Device,
        spec: StudySpec,
        arm: ArmSpec,
        seed: int,
        data: ImageData,
        saving: Saving = (None, EVERY),
    ) -> None:
        started, (checkpoints, every_seconds) = time.perf_counter(), saving
        self._saved = checkpoints.latest() if checkpoints else None
        self._nothing_to_start_from: Divergence | None = None
        if self._saved:  # with all that the arm that it starts from has given it
            self.setup = Setup(fabric, spec, arm, seed, data)
        else:
            self.setup, self._nothing_to_start_from = set_up(fabric, spec, arm, seed, data)
        self._saver = Saver(checkpoints, every_seconds, lambda: state_of(*self._parts))
        self._guard = DivergenceGuard(self.setup)
        self.loop = Loop(self.setup, self._guard, self._seconds_aside, self._saver.look)
        built, every = self.setup.built, spec.monitor.every
        self.monitor = (
            Monitor(built.model, every, activations=built.sites.values(), process_group=_processes(fabric))
            if every
            else None
        )
        self._recorder = Recorder(self.setup, self.loop, self.monitor, started)

    def run(self, on_epoch: OnEpoch | None) -> TrialRecord:
        """Train all epochs, or until the loss is not finite."""
        seed_generators(self.setup.seed, "forward")  # all: a user's layer may draw from Python's or NumPy's
        recorder, final, diverged = self._recorder, {}, dict[str, Any]()
        try:
            if self._nothing_to_start_from:
                next(iter(self.setup.batches))  # read the first batch for the digest of the data
                raise self._nothing_to_start_from
            if self._saved:
                resume(self._saved, *self._parts)
                self._saved = None
                self._tell(on_epoch)
            if self.monitor:
                self.monitor.start()
            if not recorder.epochs:
                recorder.add_epoch(None, self._validate())
            while len(recorder.epochs) <= self.setup.epochs:  # the first is the state before training
                self._train_epoch(on_epoch)
            final = self._final_scores()
        except Divergence as divergence:
            diverged = {"diverged_step": divergence.step, "diverged_cause": divergence.cause}
        finally:
            if self.monitor:
                self.monitor.close()
        informed = self.setup.spec.monitor.information and not diverged
        return recorder.record(final, diverged, layer_scores(self.setup, self.loop) if informed else ())

    def _train_epoch(self, on_epoch: OnEpoch | None) -> None:
        trained = self.loop.train_epoch()
        validation = self._validate()
        self._guard.check_evaluation(validation["loss"], "validation", self.loop.step)
        self._recorder.add_epoch(trained, validation)
        self._tell(on_epoch)
        self._saver.look()

    def _tell(self, on_epoch: OnEpoch | None) -> None:
        """Report the latest epoch of training."""
        epoch = self._recorder.epochs[-1]
        if on_epoch and epoch.epoch:
            on_epoch(epoch, [row for row in self._recorder.scores if row.epoch == epoch.epoch])

    def _seconds_aside(self) -> float:
        """Return the seconds that the monitor and checkpoints have taken."""
        return self._saver.seconds + (self.monitor.overhead if self.monitor else 0.0)

    @property
    def _parts(self) -> tuple[Setup, DivergenceGuard, Loop, Recorder, Monitor | None]:
        return self.setup, self._guard, self.loop, self._recorder, self.monitor

    def _validate(self) -> Scores:
        data = self.setup.data
        return self.loop.evaluate(data.train_images, data.train_targets, self.setup.held_out)

    def _final_scores(self) -> dict[Part, Scores]:
        data, setup, final = self.setup.data, self.setup, dict[Part, Scores]()
        parts: tuple[tuple[Part, Any, Any, Any], ...] = (
            ("train", data.train_images, data.train_targets, setup.kept),
            ("validation", data.train_images, data.train_targets, setup.held_out),
            ("test", data.test_images, data.test_targets, torch.arange(len(data.test_targets))),
        )
        for part, images, targets, index in parts:
            final[part] = self.loop.evaluate(images, targets, index, by_class=part == "test")
            self._guard.check_final(final[part]["loss"], part, self.loop.step)
        return final


def _processes(fabric: Device) -> ProcessGroup | None:
    """Return the group of all processes that Fabric has launched, which share each batch; None for a single one."""
    return torch.distributed.group.WORLD if fabric.world_size > 1 else None
