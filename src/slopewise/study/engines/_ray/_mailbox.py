"""Live reports of trials, which an actor on the driver's node collects until the driver takes them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from slopewise.study._origin import Origin
from slopewise.study.engines._base import Report

_PATIENCE = 10.0  # seconds for an answer of the actor


@dataclass(frozen=True)
class Place:
    """Process that works on a trial.

    Attributes:
        node: Ray's identifier of its node.
        host: Name of the machine.
        pid: Number of the process.
        origin: Time and place that the number belongs to.
    """

    node: str
    host: str
    pid: int
    origin: Origin


@dataclass(frozen=True)
class Letter:
    """Report of one attempt.

    Attributes:
        attempt: Number of the attempt in its session.
        place: Process that works on it.
        number: Number of the report among those of the attempt, from 0.
        report: The report.
    """

    attempt: int
    place: Place
    number: int
    report: Report


class Mailbox:
    """Actor that keeps letters; its methods are coroutines, so that `take` can wait while letters come in."""

    def __init__(self) -> None:
        self._letters: list[Letter] = []
        self._news = asyncio.Event()

    async def put(self, letter: Letter) -> None:
        """Add a letter."""
        self._letters.append(letter)
        self._news.set()

    async def flush(self) -> None:
        """Let a waiting `take` return, even if there are no letters."""
        self._news.set()

    async def take(self) -> list[Letter]:
        """Wait for letters, and return them in the order in which they came."""
        await self._news.wait()
        self._news.clear()
        letters, self._letters = self._letters, []
        return letters


class Post:
    """The driver's side of the mailbox: the actor, and the reference to the letters that it will return next.

    Attributes:
        box: Handle of the actor, for the workers.
        next: Reference that is ready as soon as letters are there.
    """

    def __init__(self) -> None:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as Affinity

        here = Affinity(ray.get_runtime_context().get_node_id(), soft=False)
        # It takes no core from the trials, and starts again, empty, if its process is killed.
        actor: Any = ray.remote(num_cpus=0, max_restarts=-1)(Mailbox)
        self.box = actor.options(scheduling_strategy=here, name=None).remote()
        self.next = self.box.take.remote()

    def taken(self) -> list[Letter]:
        """Return the letters that `next` brings, at once or a little later, and ask for the following ones."""
        import ray

        try:
            letters: list[Letter] = ray.get(self.next, timeout=_PATIENCE)
        except ray.exceptions.GetTimeoutError:
            return []
        except ray.exceptions.RayActorError:
            letters = []  # they come with the results of the tasks
        self.next = self.box.take.remote()
        return letters

    def all(self) -> list[Letter]:
        """Return all letters that have been put, without waiting for others."""
        self.box.flush.remote()
        return self.taken()

    def close(self) -> None:
        """End the actor."""
        import ray

        ray.kill(self.box)
