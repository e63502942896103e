"""Checkpoints of a trial: when one is due, what it holds, and how a trial goes on from it."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch

from slopewise.errors import FunctionError, StoreWarning
from slopewise.monitor import Monitor
from slopewise.study._checkpoints import Checkpoints
from slopewise.study._stopping import TrialStopped, stop_requested
from slopewise.study._streams import generator_states, set_generator_states
from slopewise.study._trial._fabric import load_precision_state, precision_state
from slopewise.study._trial._guard import DivergenceGuard
from slopewise.study._trial._loop import Loop
from slopewise.study._trial._recorder import Recorder
from slopewise.study._trial._setup import Setup


class Saver:
    """Saves a trial when that is due, and ends it when it is asked to stop.

    Args:
        checkpoints: Checkpoints of the trial; None saves nothing.
        every: Number of seconds from the start, or from one checkpoint to the next.
        state: Function that returns the state of the trial; None if it cannot be saved now.

    Attributes:
        seconds: Number of seconds spent on checkpoints.
    """

    def __init__(self, checkpoints: Checkpoints | None, every: float, state: Callable[[], State | None]) -> None:
        self._checkpoints, self._every, self._state = checkpoints, every, state
        self._last = time.monotonic()
        self.seconds = 0.0

    def look(self) -> None:
        """Save a checkpoint if one is due or the trial is asked to stop, and end the trial in the latter case.

        Raises:
            TrialStopped: The trial is asked to stop, and its checkpoint is saved, if it has any.
        """
        stop = stop_requested()
        if self._checkpoints is None:
            if stop:
                raise TrialStopped
        elif stop or time.monotonic() - self._last >= self._every:
            ready = self._save(self._checkpoints)
            if stop and ready:
                raise TrialStopped

    def _save(self, checkpoints: Checkpoints) -> bool:
        """Save a checkpoint; return False if the state cannot be saved before the end of the epoch."""
        started = time.perf_counter()
        state = self._state()
        if state is None:
            return False
        try:
            checkpoints.save(state["loop"]["step"], state)
        except FunctionError as error:  # of a user's network or task; without checkpoints, it can still be trained
            warnings.warn(f"the trial runs without checkpoints: it {error}", StoreWarning, stacklevel=2)
            self._checkpoints = None
        self.seconds += time.perf_counter() - started
        self._last = time.monotonic()
        return True


State = dict[str, Any]


def state_of(
    setup: Setup, guard: DivergenceGuard, loop: Loop, recorder: Recorder, monitor: Monitor | None
) -> State | None:
    """Return all that a trial needs to go on, as plain data; None if it cannot be saved now, within an epoch."""
    position = loop.state_dict()
    if position is None:
        return None
    model, device = setup.built.model, setup.fabric.device
    weights = model.state_dict()
    return {
        "loop": position,
        "init_digest": setup.init_digest,
        "model": weights,
        "buffers": {name: buffer for name, buffer in model.named_buffers() if name not in weights},  # not persistent
        "optimizer": setup.optimizer.state_dict(),
        "schedule": setup.scheduler.state_dict(),
        "precision": precision_state(setup.fabric),
        "batches": setup.batches.state_dict(within=loop.running is not None),
        "generators": generator_states(device),
        "last_loss": guard.last_loss,
        "recorder": recorder.state_dict(),
        "monitor": monitor.state_dict() if monitor else None,
    }


@torch.no_grad()
def resume(
    state: Mapping[str, Any],
    setup: Setup,
    guard: DivergenceGuard,
    loop: Loop,
    recorder: Recorder,
    monitor: Monitor | None,
) -> None:
    """Make a trial that has just been set up go on from a state."""
    model = setup.built.model
    model.load_state_dict(state["model"])
    buffers = dict(model.named_buffers())
    for name, buffer in state["buffers"].items():
        buffers[name].copy_(buffer)
    setup.init_digest = state["init_digest"]
    setup.optimizer.load_state_dict(state["optimizer"])
    setup.scheduler.load_state_dict(dict(state["schedule"]))
    load_precision_state(setup.fabric, state["precision"])
    setup.batches.load_state_dict(state["batches"])
    guard.last_loss = state["last_loss"]
    recorder.load_state_dict(state["recorder"])
    if monitor:
        monitor.load_state_dict(state["monitor"])
    loop.load_state_dict(state["loop"])  # after the monitor, whose seconds the time of a step excludes
    set_generator_states(state["generators"], setup.fabric.device)
