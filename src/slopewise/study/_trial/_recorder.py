"""The recorder of a trial: measurements of epochs in, one `TrialRecord` out."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Mapping
from dataclasses import asdict
from statistics import median
from typing import Any

import torch
from torch import Tensor

from slopewise.machine import environment, environment_digest
from slopewise.monitor import Monitor, Probe, learned_slopes
from slopewise.records import EpochRecord, GradientRecord, LayerScoreRecord, Part, ScoreRecord, SiteRecord, TrialRecord
from slopewise.study._measured import alarm_records, gradient_records, site_records
from slopewise.study._streams import stream
from slopewise.study._trial._loop import Loop, Scores, TrainedEpoch
from slopewise.study._trial._setup import Setup

PROBE_SIZE = 128  # images of the probe batch, unless outputs are as large as images


class Recorder:
    """Records of one trial so far.

    Attributes:
        epochs, scores: Records of the epochs that have ended.
    """

    def __init__(self, setup: Setup, loop: Loop, monitor: Monitor | None, started: float) -> None:
        self._started = started
        self._setup, self._loop, self._monitor = setup, loop, monitor
        device, data = setup.fabric.device, setup.data
        size = setup.batches.size if data.kind in ("masks", "images") else PROBE_SIZE
        chosen = setup.kept[torch.randperm(len(setup.kept), generator=stream(setup.seed, "probe"))[:size]]
        self._probe_batch = data.train_images[chosen].to(device), data.train_targets[chosen].to(device)
        self._probe = Probe(setup.built.model, setup.built.sites.values())
        self.epochs: list[EpochRecord] = []
        self.scores: list[ScoreRecord] = []
        self._sites: list[SiteRecord] = []
        self._gradients: list[GradientRecord] = []
        self._data_digest = hashlib.sha256().hexdigest()
        setup.batches.on_first(self._digest)

    def add_epoch(self, trained: TrainedEpoch | None, validation: Scores) -> None:
        """Record an epoch that has ended; None in place of its training records the state before training."""
        epoch = len(self.epochs)
        self.epochs.append(
            EpochRecord(
                epoch=epoch,
                step=self._loop.step,
                learning_rate=trained.learning_rate if trained else None,
                # The first epoch of training warms up.
                seconds_per_step=trained.seconds_per_step if trained and epoch > 1 else None,
            )
        )
        self._add_scores(epoch, "train", trained.scores if trained else {})
        self._add_scores(epoch, "validation", validation)
        sample = self._probe(lambda: self._loop.loss_of(*self._probe_batch), step=self._loop.step)
        self._sites += site_records(epoch, sample, self._setup.built.sites)
        self._gradients += gradient_records(epoch, sample)

    def record(
        self, final: dict[Part, Scores], diverged: dict[str, Any], layer_scores: tuple[LayerScoreRecord, ...]
    ) -> TrialRecord:
        """Return the record of the trial, which has ended.

        Args:
            final: Scores of the final weights by part; {} for a trial that diverged.
            diverged: Fields `diverged_step` and `diverged_cause`; {} for a trial that did not.
            layer_scores: Probe and reconstruction scores of the layers; empty if the spec does not ask for them.
        """
        for part, scores in final.items():
            self._add_scores(None, part, scores)
        setup, built = self._setup, self._setup.built
        warm = [epoch.seconds_per_step for epoch in self.epochs if epoch.seconds_per_step is not None]
        return TrialRecord(
            arm=setup.arm.name,
            seed=setup.seed,
            status="finished",
            **diverged,
            steps=self._loop.step,
            seconds=time.perf_counter() - self._started,
            seconds_per_step=median(warm) if warm else None,
            monitor_seconds=self._monitor.overhead if self._monitor else 0.0,
            parameters=sum(p.numel() for p in built.model.parameters()),
            slope_parameters=sum(learned_slopes(site).numel() for site in built.sites.values()),
            init_digest=setup.init_digest,
            data_digest=self._data_digest,
            environment=environment_digest(environment()),
            epochs=tuple(self.epochs),
            sites=tuple(self._sites),
            gradients=tuple(self._gradients),
            alarms=alarm_records(self._monitor.alarms if self._monitor else ()),
            scores=tuple(self.scores),
            layer_scores=layer_scores,
        )

    def state_dict(self) -> dict[str, Any]:
        """Return what has been recorded so far, as plain data."""
        return {
            "seconds": time.perf_counter() - self._started,
            "data_digest": self._data_digest,
            **{name: list(map(asdict, rows)) for name, (_, rows) in self._rows().items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what another recorder of the trial has recorded."""
        self._started, self._data_digest = time.perf_counter() - state["seconds"], state["data_digest"]
        for name, (kind, rows) in self._rows().items():
            rows[:] = [kind(**fields) for fields in state[name]]

    def _rows(self) -> dict[str, tuple[type, list[Any]]]:
        return {
            "epochs": (EpochRecord, self.epochs),
            "scores": (ScoreRecord, self.scores),
            "sites": (SiteRecord, self._sites),
            "gradients": (GradientRecord, self._gradients),
        }

    def _add_scores(self, epoch: int | None, part: Part, scores: Scores) -> None:
        self.scores += (ScoreRecord(epoch, part, name, score) for name, score in scores.items() if math.isfinite(score))

    def _digest(self, images: Tensor, targets: Tensor) -> None:
        """Add the split and the first augmented batch to the digest, which must be equal in all arms of a seed."""
        digest = hashlib.sha256()
        for part in (self._setup.kept, self._setup.held_out, images, targets):
            digest.update(part.contiguous().numpy().tobytes())
        self._data_digest = digest.hexdigest()
