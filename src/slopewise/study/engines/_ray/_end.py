"""Signals to processes that work on a trial, on whatever node they are: a request to stop, or their end."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from typing import Any

from slopewise.study._origin import has_ended
from slopewise.study.engines._leash import signal_group
from slopewise.study.engines._ray._mailbox import Place

GRACE = 10.0  # seconds for processes to be gone after SIGKILL
_LOOK = 0.005


def end_on_node(places: Sequence[Place]) -> Any:
    """Kill processes of one node with all that they have started, and return the reference of the task that does it.

    Ray's own cancellation asks the process to end, and says nothing of the processes that it has started: a frozen one
    would go on when it thaws. The task takes no core, and fails if the node has gone.
    """
    return _on_node(_kill, places)


def ask_on_node(places: Sequence[Place]) -> Any:
    """Ask processes of one node to stop their trials early, and return the reference of the task that does it."""
    return _on_node(_ask, places)


def _on_node(function: Callable[[Sequence[Place]], None], places: Sequence[Place]) -> Any:
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as Affinity

    task: Any = ray.remote(num_cpus=0, max_retries=0)(function)
    return task.options(scheduling_strategy=Affinity(places[0].node, soft=False)).remote(list(places))


def _ask(places: Sequence[Place]) -> None:
    for place in places:
        if not has_ended(place.pid, place.origin):
            os.kill(place.pid, signal.SIGTERM)


def _kill(places: Sequence[Place]) -> None:
    for place in places:
        if not has_ended(place.pid, place.origin):
            os.kill(place.pid, signal.SIGKILL)
            signal_group(place.pid, signal.SIGKILL)
        elif not _exists(place.pid):  # its children may still run; if it exists, it is a stranger of the same number
            signal_group(place.pid, signal.SIGKILL)
    deadline = time.monotonic() + GRACE
    while not all(has_ended(place.pid, place.origin) for place in places) and time.monotonic() < deadline:
        time.sleep(_LOOK)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
