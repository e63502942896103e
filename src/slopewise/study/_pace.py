"""Time of a training step on this machine, measured before the first trial."""

from __future__ import annotations

import gc
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from statistics import median
from typing import NamedTuple

import torch

from slopewise.study._references import describe
from slopewise.study._spec import StudySpec
from slopewise.study._spec_input import stored_spec
from slopewise.study._trial import training_steps
from slopewise.study.data import ImageData
from slopewise.study.engines._process import GRACE, Worker
from slopewise.study.models import MODELS

_STEPS = 6  # maximum number of timed steps, after one that warms up
_BUDGET = 1.5  # seconds after which no further step is timed
_WORTH = 300.0  # seconds of training from which on another memory format is tried: it takes some itself

_Times = list[list[float]]


class Pace(NamedTuple):
    """Time of a training step of the control.

    Attributes:
        seconds: Median of its first steps; None if none could be timed.
        unknown: Reason for that.
        channels_last: Its time in channels last, as a fraction of that as built; None if it was not compared.
    """

    seconds: float | None = None
    unknown: str | None = None
    channels_last: float | None = None


def pace_of(spec: StudySpec, data: ImageData, epochs: float) -> Pace:
    """Return the time of the control's training step, for a study of that many epochs in all."""
    if spec.hardware.devices > 1:
        return Pace(unknown="steps of several devices are not timed beforehand")
    threads = torch.get_num_threads()
    try:
        with torch.random.fork_rng():
            seconds = median(_timed([spec], data)[0])
    except Exception as error:  # a user's model can raise anything; its trials will report it
        return Pace(unknown=f"no step could be timed: the control raised {describe(error)}")
    finally:
        torch.set_num_threads(threads)
    layout = spec.model.memory_format, spec.hardware.accelerator
    own = spec.model.name not in MODELS and layout == ("as_built", "cpu")
    if not own or seconds * epochs * len(data.train_images) / spec.train.batch_size < _WORTH:
        return Pace(seconds)
    return Pace(seconds, channels_last=_channels_last(spec, data))


def _channels_last(spec: StudySpec, data: ImageData) -> float | None:
    """Return the time of a step in channels last, as a fraction of that as built; None if there is none.

    A process of its own takes the steps: PyTorch's operations may end it in a memory format that the user has not
    chosen, and the study must not end with it.
    """
    spec = stored_spec(spec.model_dump(mode="json"))  # which can be pickled
    model = spec.model.model_copy(update={"memory_format": "channels_last"})
    worker = Worker.start(_send_times, [spec, spec.model_copy(update={"model": model})], data)
    try:
        times: _Times | None = worker.pipe.recv()
    except (EOFError, OSError):  # it has ended
        return None
    finally:
        Worker.end([worker], patience=GRACE)
    if times is None:
        return None
    as_built, channels_last = times
    return median(last / built for built, last in zip(as_built, channels_last, strict=True))


def _send_times(pipe: Connection, specs: Sequence[StudySpec], data: ImageData) -> None:
    gc.enable()
    times: _Times | None
    try:
        times = _timed(specs, data)
    except Exception:  # a user's model can raise anything, in a format for which it was not written
        times = None
    pipe.send(times)


def _timed(specs: Sequence[StudySpec], data: ImageData) -> _Times:
    """Return the times of the first training steps of the control by each spec; the specs take turns."""
    torch.set_num_threads(specs[0].hardware.threads)
    running = [training_steps(spec, spec.arm(spec.control), spec.seeds[0], data) for spec in specs]
    seconds: _Times = [[] for _ in specs]
    for steps in running:
        next(steps)  # warms up
    while len(seconds[0]) < _STEPS and sum(map(sum, seconds)) < _BUDGET:
        for steps, own in zip(running, seconds, strict=True):
            started = time.perf_counter()
            next(steps)
            own.append(time.perf_counter() - started)
    return seconds
