"""One trial: train one arm from one seed, measure it after every epoch, score it once on the test set.

Randomness comes in separate seeded streams: initial weights, validation split, data order, augmentation, and draws
in the forward pass (dropout, RReLU). The first four are the same in every arm of a seed.
"""

from __future__ import annotations

import gc
import hashlib
import math
import pickle
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from statistics import median
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from slopewise.machine import environment, environment_digest
from slopewise.monitor import Monitor, Probe, learned_slopes
from slopewise.records import EpochRecord, GradientRecord, SiteRecord, TrialRecord
from slopewise.study._batches import Batches
from slopewise.study._measured import alarm_records, gradient_records, site_records
from slopewise.study._operator_cost import compare_operators, holds_our_layers, why_not_compared
from slopewise.study._optimizer import build_optimizer
from slopewise.study._spec import ArmSpec, HardwareSpec, StudySpec
from slopewise.study._streams import derive, stream
from slopewise.study.arms import activation_factory
from slopewise.study.data import ImageData, Images, read_data, stratified_split
from slopewise.study.models import BuiltModel, build_model

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from torch.distributed import ProcessGroup

PROBE_SIZE = 128  # images of the probe batch
_EVALUATION_BATCH = 512
_EXAMPLES = 2  # example images for the conversion of an ordinary network; batch normalisation needs two
_LOSS_CHECK = 50  # steps between checks of the loss on devices that a check would synchronise

OnEpoch = Callable[[EpochRecord], None]


def run_trial(
    spec: StudySpec, arm: str, seed: int, data: ImageData | None = None, on_epoch: OnEpoch | None = None
) -> TrialRecord:
    """Run one trial to its end, which may be a divergence.

    Args:
        spec: Spec of the study.
        arm: Name of the arm.
        seed: Seed of all random streams.
        data: Loaded data, which several trials can share; None loads them here.
        on_epoch: Called after each epoch; ignored with several devices per trial.

    Raises:
        SlopewiseError: The data, the activation or the model cannot be used. Other exceptions of a user's model
            propagate unchanged.
    """
    hardware = spec.hardware
    torch.set_num_threads(hardware.threads)
    fabric = make_fabric(hardware)
    data = data or read_data(spec.data)
    if hardware.devices == 1:
        return _run_and_compare(fabric, spec, spec.arm(arm), seed, data, on_epoch)
    # Every rank is a process of its own, which maps the same images. Fabric searches the objects that it moves between
    # processes for tensors, and refuses frozen dataclasses: the data go with the function, the record comes as bytes.
    rank = partial(_run_rank, spec=spec, arm=arm, seed=seed, data=data)
    return pickle.loads(fabric.launch(rank))  # type: ignore[no-any-return]  # noqa: S301


def make_fabric(hardware: HardwareSpec) -> Fabric:
    """Return Lightning Fabric set up for one trial."""
    from lightning_fabric import Fabric

    return Fabric(
        accelerator=hardware.accelerator,
        devices=hardware.devices,
        strategy=hardware.strategy,
        precision=hardware.precision,
    )


def build_arm(spec: StudySpec, arm: ArmSpec, seed: int, data: ImageData) -> BuiltModel:
    """Build the arm's model with the initial weights of a trial of that seed."""
    return build_model(
        spec.model,
        activation_factory(arm),
        num_classes=len(data.classes),
        in_channels=data.in_channels,
        seed=seed,
        example=data.train_images[torch.arange(min(_EXAMPLES, len(data.train_labels)))],
    )


def _run_rank(fabric: Fabric, spec: StudySpec, arm: str, seed: int, data: ImageData) -> bytes:
    torch.set_num_threads(spec.hardware.threads)
    return pickle.dumps(_run_and_compare(fabric, spec, spec.arm(arm), seed, data, None))


def _run_and_compare(
    fabric: Fabric, spec: StudySpec, arm: ArmSpec, seed: int, data: ImageData, on_epoch: OnEpoch | None
) -> TrialRecord:
    """Run the trial; in the arm's first seed, time its steps afterwards with and without the compiled kernels."""
    trial = _Trial(fabric, spec, arm, seed, data)
    record = trial.run(on_epoch)
    if seed != spec.seeds[0] or not holds_our_layers(trial.built.model):
        return record
    del trial
    gc.collect()  # its optimizer and scheduler refer to each other; a second network needs their room
    cost = compare_operators(
        lambda: _Trial(fabric, spec, still(arm), seed, data).steps(),
        threads=spec.hardware.threads,
        why_not=why_not_compared(fabric.device.type, fabric.world_size),
    )
    return replace(record, operator_costs=(cost,))


def training_steps(spec: StudySpec, arm: ArmSpec, seed: int, data: ImageData) -> Iterator[None]:
    """Yield after each training step of a network of the arm whose weights do not move, without end."""
    return _Trial(make_fabric(spec.hardware), spec, still(arm), seed, data).steps()


def still(arm: ArmSpec) -> ArmSpec:
    """Return the arm with a learning rate of 0: its steps do the same work, and move no weight."""
    return arm.model_copy(update={"lr": 0.0})


class _Divergence(Exception):  # noqa: N818 - a result, not an error
    """Non-finite loss in training."""

    def __init__(self, step: int, cause: str) -> None:
        super().__init__(cause)
        self.step, self.cause = step, cause


@dataclass(frozen=True)
class _Trained:
    """Training figures of one epoch; all None before training."""

    loss: float | None = None
    accuracy: float | None = None
    learning_rate: float | None = None
    seconds_per_step: float | None = None


_UNTRAINED = _Trained()


class _Trial:
    """State of one training run."""

    def __init__(self, fabric: Fabric, spec: StudySpec, arm: ArmSpec, seed: int, data: ImageData) -> None:
        self.started = time.perf_counter()
        self.fabric, self.spec, self.arm, self.seed, self.data = fabric, spec, arm, seed, data
        self.kept, self.held_out = stratified_split(
            data.train_labels, spec.data.validation_fraction, stream(seed, "split")
        )
        self.batches = Batches(data, self.kept, spec, seed)
        self.built = build_arm(spec, arm, seed, data)
        self.init_digest = self.built.init_digest()
        optimizer, self.scheduler = build_optimizer(self.built.model, spec.train, arm, len(self.batches))
        self.model, self.optimizer = fabric.setup(self.built.model, optimizer)
        chosen = self.kept[torch.randperm(len(self.kept), generator=stream(seed, "probe"))[:PROBE_SIZE]]
        self.probe_images = data.train_images[chosen].to(fabric.device)
        self.probe_labels = data.train_labels[chosen].to(fabric.device)
        activations = self.built.sites.values()
        self.probe = Probe(self.built.model, activations)
        self.monitor = None
        if spec.monitor.every:
            self.monitor = Monitor(
                self.built.model, spec.monitor.every, activations=activations, process_group=_processes(fabric)
            )
        self.step, self.last_loss = 0, math.nan
        self.data_digest = hashlib.sha256()
        self.epochs: list[EpochRecord] = []
        self.sites: list[SiteRecord] = []
        self.gradients: list[GradientRecord] = []

    def run(self, on_epoch: OnEpoch | None) -> TrialRecord:
        """Train all epochs, or until the loss is not finite."""
        torch.manual_seed(derive(self.seed, "forward"))
        outcome: dict[str, Any]
        try:
            if self.monitor:
                self.monitor.start()
            self._measure(_UNTRAINED)
            for _ in range(self.spec.train.epochs):
                self._measure(self._train_epoch())
                if on_epoch:
                    on_epoch(self.epochs[-1])
            outcome = self._final_scores()
        except _Divergence as divergence:
            outcome = {"diverged_step": divergence.step, "diverged_cause": divergence.cause}
        finally:
            if self.monitor:
                self.monitor.close()
        warm = [epoch.seconds_per_step for epoch in self.epochs if epoch.seconds_per_step is not None]
        return TrialRecord(
            arm=self.arm.name,
            seed=self.seed,
            status="finished",
            **outcome,
            steps=self.step,
            seconds=time.perf_counter() - self.started,
            seconds_per_step=median(warm) if warm else None,
            monitor_seconds=self._monitor_seconds(),
            parameters=sum(p.numel() for p in self.built.model.parameters()),
            slope_parameters=sum(learned_slopes(site).numel() for site in self.built.sites.values()),
            init_digest=self.init_digest,
            data_digest=self.data_digest.hexdigest(),
            environment=environment_digest(environment()),
            epochs=tuple(self.epochs),
            sites=tuple(self.sites),
            gradients=tuple(self.gradients),
            alarms=alarm_records(self.monitor.alarms if self.monitor else ()),
        )

    def steps(self) -> Iterator[None]:
        """Yield after each training step, without end, and record nothing."""
        self.model.train()
        while True:
            for images, labels in self.batches:
                self._step(images, labels, [], self.step + 1)
                yield

    def _train_epoch(self) -> _Trained:
        self.model.train()
        device = self.fabric.device
        losses: list[Tensor] = []
        right, seen = torch.zeros((), device=device, dtype=torch.int64), 0
        _wait_for(device)
        started, monitored, first = time.perf_counter(), self._monitor_seconds(), self.step + 1
        for images, labels in self.batches:
            if self.step == 0:
                self._digest(images, labels)
            learning_rate = self.optimizer.param_groups[0]["lr"]
            hits = self._step(images, labels, losses, first)
            right += hits.sum()
            seen += len(hits)
        _wait_for(device)
        seconds = time.perf_counter() - started - (self._monitor_seconds() - monitored)
        self._check(losses, first)
        totals = torch.stack([torch.stack(losses).double().mean(), right.double() / seen])
        loss_mean, accuracy = self._over_ranks(totals).tolist()
        return _Trained(loss_mean, accuracy, learning_rate, seconds / len(losses))

    def _step(self, images: Tensor, labels: Tensor, losses: list[Tensor], first: int) -> Tensor:
        """Take one step with this rank's share of a batch, append its loss, and return the mask of correct images."""
        device, rank, world = self.fabric.device, self.fabric.global_rank, self.fabric.world_size
        images, labels = images[rank::world].to(device), labels[rank::world].to(device)
        logits = self.model(images)
        loss = F.cross_entropy(logits, labels)
        losses.append(loss.detach())
        if device.type == "cpu" or len(losses) % _LOSS_CHECK == 0:
            self._check(losses, first)
        self.optimizer.zero_grad()
        self.fabric.backward(loss)
        self.optimizer.step()
        self.scheduler.step()
        self.step += 1
        return logits.detach().argmax(dim=1) == labels  # type: ignore[no-any-return]

    def _measure(self, trained: _Trained) -> None:
        """Record the epoch that just ended, or the state before training."""
        epoch = len(self.epochs)
        loss, accuracy = self._evaluate(self.data.train_images, self.data.train_labels, self.held_out)
        if epoch and not math.isfinite(loss):
            raise _Divergence(self.step, f"the validation loss is {loss} after step {self.step}{self._largest_slope()}")
        self.epochs.append(
            EpochRecord(
                epoch=epoch,
                step=self.step,
                train_loss=trained.loss,
                train_accuracy=trained.accuracy,
                validation_loss=_finite(loss),
                validation_accuracy=accuracy,
                learning_rate=trained.learning_rate,
                seconds_per_step=trained.seconds_per_step if epoch > 1 else None,  # the first epoch warms up
            )
        )
        sample = self.probe(self._probe_loss, step=self.step)
        self.sites += site_records(epoch, sample, self.built.sites)
        self.gradients += gradient_records(epoch, sample)

    def _final_scores(self) -> dict[str, float]:
        data, scores = self.data, {}
        for part, images, labels, index in (
            ("train", data.train_images, data.train_labels, self.kept),
            ("validation", data.train_images, data.train_labels, self.held_out),
            ("test", data.test_images, data.test_labels, torch.arange(len(data.test_labels))),
        ):
            scores[f"{part}_loss"], scores[f"{part}_accuracy"] = self._evaluate(images, labels, index)
            if not math.isfinite(scores[f"{part}_loss"]):
                raise _Divergence(
                    self.step, f"the final {part} loss is {scores[f'{part}_loss']}{self._largest_slope()}"
                )
        return scores

    @torch.no_grad()
    def _evaluate(self, images: Images, labels: Tensor, index: Tensor) -> tuple[float, float]:
        """Return mean loss and accuracy in evaluation mode; every rank scores all images."""
        self.built.model.eval()
        loss, right = 0.0, 0
        with self.fabric.autocast():
            for chosen in torch.split(index, _EVALUATION_BATCH):
                wanted = labels[chosen].to(self.fabric.device)
                logits = self.built.model(self._cast(images[chosen].to(self.fabric.device))).float()
                loss += F.cross_entropy(logits, wanted, reduction="sum").item()
                right += int((logits.argmax(dim=1) == wanted).sum())
        return loss / len(index), right / len(index)

    def _monitor_seconds(self) -> float:
        return self.monitor.overhead if self.monitor else 0.0

    def _probe_loss(self) -> Tensor:
        with self.fabric.autocast():
            return F.cross_entropy(self.built.model(self._cast(self.probe_images)).float(), self.probe_labels)

    def _cast(self, images: Tensor) -> Tensor:
        """Return images in the parameters' dtype, for `bf16-true` and `64-true`; autocast does the mixed precisions."""
        return images.to(next(self.built.model.parameters()).dtype)

    def _check(self, losses: list[Tensor], first: int) -> None:
        """Raise at the first non-finite loss of the steps `first`, `first` + 1, ...; it is the same on every rank."""
        latest = losses[-1:] if self.fabric.device.type == "cpu" else losses
        values = self._over_ranks(torch.stack(latest)).tolist()
        for step, value in enumerate(values, start=first + len(losses) - len(latest)):
            if not math.isfinite(value):
                rate = self.optimizer.param_groups[0]["lr"]
                raise _Divergence(
                    step,
                    f"the training loss became {value} at step {step} (learning rate {rate:.3g}, loss before it "
                    f"{self.last_loss:.3g}){self._largest_slope()}",
                )
            self.last_loss = value

    def _largest_slope(self) -> str:
        """Return the largest slope and its layer as a clause for `diverged_cause`; "" for a model without slopes."""
        sizes = {
            name: learned_slopes(site).abs().max().item()
            for name, site in self.built.sites.items()
            if learned_slopes(site).numel()
        }
        if not sizes:
            return ""
        layer = max(sizes, key=lambda name: math.inf if math.isnan(sizes[name]) else sizes[name])
        return f"; the largest slope is {sizes[layer]:.3g} in {layer}"

    def _over_ranks(self, values: Tensor) -> Tensor:
        return self.fabric.all_reduce(values, reduce_op="mean") if self.fabric.world_size > 1 else values  # type: ignore[return-value]

    def _digest(self, images: Tensor, labels: Tensor) -> None:
        """Add the split and the first augmented batch to the digest, which must be equal in all arms of a seed."""
        for part in (self.kept, self.held_out, images, labels):
            self.data_digest.update(part.contiguous().numpy().tobytes())


def _processes(fabric: Fabric) -> ProcessGroup | None:
    """Return the group of all processes that Fabric has launched, which share each batch; None for a single one."""
    return torch.distributed.group.WORLD if fabric.world_size > 1 else None


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _wait_for(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
