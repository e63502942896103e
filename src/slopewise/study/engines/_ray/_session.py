"""Session on a cluster: trials as tasks, whose results and live reports become the reports of the session."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any
from uuid import uuid4

from slopewise.events import Ended, TrialKey
from slopewise.study.engines._base import Lost, Report, Session, Stopped
from slopewise.study.engines._needs import Needs
from slopewise.study.engines._ray._end import GRACE, ask_on_node, end_on_node
from slopewise.study.engines._ray._faults import loss
from slopewise.study.engines._ray._mailbox import Letter, Place, Post
from slopewise.study.engines._ray._nodes import Nodes
from slopewise.study.engines._ray._setup import Setup
from slopewise.study.engines._ray._work import trial_attempt

_REACTION = 0.5  # seconds for a task to end when it is cancelled, before its process is killed
_LOOK = 1.0  # seconds after which nodes are looked at again, while nothing happens


@dataclass(eq=False)
class _Attempt:
    """Attempt at a trial; `reported` counts the reports that were passed on, and `over` is True if no more may be."""

    number: int
    trial: TrialKey
    result: Any = None
    reported: int = 0
    place: Place | None = None
    over: bool = False


class RaySession(Session, AbstractContextManager["RaySession"]):
    """Tasks on the cluster that this process is connected to; leaving the block ends them all.

    Args:
        nodes: Nodes of the cluster.
        setup: Common part of the trials.
        needs: Resources of one trial.
        most: Largest number of trials side by side; None is what the nodes have room for.
    """

    def __init__(self, nodes: Nodes, setup: Setup, needs: Needs, most: int | None) -> None:
        import ray

        self._nodes, self._most = nodes, most
        self._numbers = count()
        self._attempts: dict[int, _Attempt] = {}
        self._proven = False  # True once any trial has begun
        self._held: list[Report] = []  # of other trials, while one was given up
        self._failed_on: defaultdict[TrialKey, set[str]] = defaultdict(set)
        self._setup = ray.put(setup)
        self._post = Post()
        # What to do when an object is ready: with letters, with the result of a task, or once a process is gone.
        self._ready: dict[Any, Callable[[], Iterable[Report]]] = {self._post.next: self._deliver}
        # A process has modules of the user's own: those that this study finds, and not those of one before it.
        session = {"env_vars": {"SLOPEWISE_SESSION": uuid4().hex}}
        self._task: Any = ray.remote(
            num_cpus=needs.cores, num_gpus=needs.accelerators, max_retries=0, runtime_env=session
        )(trial_attempt)

    def __exit__(self, *_: object) -> None:
        try:
            self._end(list(self._attempts.values()))
        finally:
            self._post.close()

    def free(self, unended: int) -> int:
        """Return the room of the present nodes, or the largest number of trials, less the trials that are placed.

        Raises:
            EngineError: No node can run a trial, and none has come in time.
        """
        room = self._nodes.room()
        return max(0, min(self._most or room, unended) - len(self._attempts))

    def place(self, trial: TrialKey, attempt: int) -> None:  # noqa: ARG002 - the session knows where it has failed
        """Submit a task, which Ray gives to a node: to one on which the trial has not failed, if there is one."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as Affinity

        task = self._task
        if avoided := self._failed_on[trial]:
            busy = Counter(other.place.node for other in self._attempts.values() if other.place)
            if node := self._nodes.elsewhere(avoided, busy):
                task = task.options(scheduling_strategy=Affinity(node, soft=True))
        placed = _Attempt(next(self._numbers), trial)
        placed.result = task.remote([self._post.box], [self._setup], placed.number, trial)
        self._attempts[placed.number] = placed
        self._ready[placed.result] = partial(self._finish, placed)

    def reports(self, timeout: float | None = None) -> Iterator[Report]:
        """Wait for letters and results, and yield what they say of trials."""
        import ray

        held, self._held = self._held, []
        yield from held
        patience = 0 if held else _LOOK if timeout is None else min(timeout, _LOOK)
        ready, _ = ray.wait(list(self._ready), timeout=patience)
        if ready:
            ready, _ = ray.wait(list(self._ready), num_returns=len(self._ready), timeout=0)
        for reference in ready:
            if act := self._ready.pop(reference, None):  # an earlier one may have settled it
                yield from act()

    def give_up(self, trial: TrialKey) -> None:
        """End the task of a trial, and its process with all that it has started, even if it is frozen."""
        self._end([attempt for attempt in self._attempts.values() if attempt.trial == trial])

    def ask_to_stop(self) -> None:
        """Send SIGTERM to the processes that work on trials, and stop those that still wait for a node."""
        import ray

        self._held += self._passed(self._post.all)
        begun = [attempt for attempt in self._attempts.values() if attempt.place]
        for on_node in _by_node(begun).values():
            ask_on_node(on_node)
        for attempt in [attempt for attempt in self._attempts.values() if not attempt.place]:
            ray.cancel(attempt.result, force=True)
            self._close(attempt, failed=False)
            self._held.append(Stopped(attempt.trial))

    def _deliver(self) -> Iterator[Report]:
        return self._passed(self._post.taken)

    def _passed(self, take: Callable[[], list[Letter]]) -> Iterator[Report]:
        """Take letters, and yield the reports that are due; the rest comes with the results."""
        self._ready.pop(self._post.next, None)
        letters = take()
        self._ready[self._post.next] = self._deliver
        for letter in letters:
            attempt = self._attempts.get(letter.attempt)
            if attempt is None:
                continue  # a process that was taken for dead
            attempt.place, self._proven = letter.place, True
            if letter.number == attempt.reported and not attempt.over:
                attempt.reported += 1
                yield letter.report

    def _finish(self, attempt: _Attempt) -> Iterator[Report]:
        """Yield what the task of an attempt has brought; after an error of Ray, first end what is left of it."""
        import ray

        try:
            attempt.place, reports, end = ray.get(attempt.result)
        except ray.exceptions.RayError as error:
            yield from self._passed(self._post.all)
            if attempt.place is None or isinstance(error, ray.exceptions.NodeDiedError):
                yield self._lose(attempt, error, node_alive=True)
            else:
                gone = end_on_node([attempt.place])
                self._ready[gone] = partial(self._bury, attempt, error)
            return
        self._close(attempt, failed=isinstance(end, Ended) and end.record.status == "failed")
        yield from reports[attempt.reported :]
        yield end

    def _bury(self, attempt: _Attempt, error: Exception) -> Iterator[Report]:
        """Yield the loss of an attempt whose process has gone, or whose node does not answer any more."""
        yield self._lose(attempt, error, node_alive=attempt.place is None or self._nodes.alive(attempt.place.node))

    def _lose(self, attempt: _Attempt, error: Exception, *, node_alive: bool) -> Lost:
        self._close(attempt, failed=True)
        self._nodes.forget()
        return loss(attempt.trial, error, attempt.place, node_alive=node_alive, proven=self._proven)

    def _close(self, attempt: _Attempt, *, failed: bool) -> None:
        del self._attempts[attempt.number]
        self._ready.pop(attempt.result, None)
        if failed and attempt.place:
            self._failed_on[attempt.trial].add(attempt.place.node)

    def _end(self, attempts: Sequence[_Attempt]) -> None:
        """End tasks and their processes, and return once nothing works on them."""
        if not attempts:
            return
        import ray

        for attempt in attempts:
            attempt.over = True
            ray.cancel(attempt.result, force=True)
        self._held += self._passed(self._post.all)
        results = [attempt.result for attempt in attempts]
        ray.wait(results, num_returns=len(results), timeout=_REACTION)
        # If a task has ended by itself, its process may work on another trial by now.
        left = [attempt for attempt in attempts if not _has_returned(attempt.result)]
        over = [end_on_node(on_node) for on_node in _by_node(left).values()] + results
        ray.wait(over, num_returns=len(over), timeout=GRACE)
        for attempt in attempts:
            self._close(attempt, failed=True)


def _by_node(attempts: Iterable[_Attempt]) -> dict[str, list[Place]]:
    """Return the processes that work on attempts, by the identifier of their node."""
    places = defaultdict[str, list[Place]](list)
    for attempt in attempts:
        if attempt.place:
            places[attempt.place.node].append(attempt.place)
    return places


def _has_returned(result: Any) -> bool:
    import ray

    try:
        ray.get(result, timeout=0)
    except ray.exceptions.RayError:  # it runs, or was cancelled
        return False
    return True
