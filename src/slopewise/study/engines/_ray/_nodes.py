"""Nodes of the cluster: the room that they have for trials, and the choice of one for a trial's next attempt."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from time import monotonic

from slopewise.errors import EngineError
from slopewise.study.engines._needs import Needs

_FRESH = 1.0  # seconds for which what is known about the nodes is used
_SHOWN = 3  # nodes in a message


@dataclass(frozen=True)
class Node:
    """Node that is alive.

    Attributes:
        id: Ray's identifier.
        host: Name of the machine.
        cores: Processor cores that the node offers, whether in use or not.
        accelerators: GPUs that it offers.
    """

    id: str
    host: str
    cores: float
    accelerators: float


class Nodes:
    """Nodes of the cluster that this process is connected to.

    Args:
        needs: Resources of one trial.
        patience: Number of seconds without any node that could run a trial, after which there is no hope for one.
    """

    def __init__(self, needs: Needs, patience: float) -> None:
        self._needs, self._patience = needs, patience
        self._alive: tuple[Node, ...] = ()
        self._read_at, self._fit_at = -math.inf, monotonic()

    def checked(self) -> Nodes:
        """Return these nodes if one of them could run a trial.

        Raises:
            EngineError: None of them offers enough.
        """
        if not self.room():
            raise EngineError(f"{self._lack()}. They offer {self._offers()}: {_ADVICE}")
        return self

    def room(self) -> int:
        """Return the number of trials that the nodes can run side by side; 0 while none of them can run one.

        Raises:
            EngineError: None of them could for longer than the engine's patience.
        """
        self._read()
        room = sum(self._needs.room(node.cores, node.accelerators) for node in self._alive)
        if room:
            self._fit_at = monotonic()
        elif self._read_at - self._fit_at > self._patience:
            waited = f"{self._lack()}, for {self._patience:g} s (the engine's option patience)"
            raise EngineError(f"{waited}. They offer {self._offers()}: {_ADVICE}")
        return room

    def elsewhere(self, avoided: Collection[str], busy: Counter[str]) -> str | None:
        """Return the node for a trial that has failed on others, the one with the most room; None if there is no other.

        Args:
            avoided: Nodes on which the trial has failed.
            busy: Number of our trials on each node.
        """
        self._read()
        room = {node.id: self._needs.room(node.cores, node.accelerators) for node in self._alive}
        others = [node for node, trials in room.items() if trials and node not in avoided]
        return max(others, key=lambda node: room[node] - busy[node], default=None)

    def alive(self, node: str) -> bool:
        """Return True if a node is alive, as far as the cluster knows."""
        self._read(fresh=True)
        return any(node == other.id for other in self._alive)

    def forget(self) -> None:
        """Ask the cluster again, before trials are placed on a node that has just gone."""
        self._read_at = -math.inf

    def _read(self, *, fresh: bool = False) -> None:
        if not fresh and monotonic() < self._read_at + _FRESH:
            return
        import ray

        nodes = [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
        self._alive = tuple(
            Node(
                node["NodeID"],
                node["NodeManagerHostname"],
                node["Resources"].get("CPU", 0.0),
                node["Resources"].get("GPU", 0.0),
            )
            for node in nodes
        )
        self._read_at = monotonic()

    def _lack(self) -> str:
        return f"no node of the Ray cluster offers {_amount(self._needs.cores, self._needs.accelerators)} for a trial"

    def _offers(self) -> str:
        offers = [f"{_amount(node.cores, node.accelerators)} ({node.host})" for node in self._alive[:_SHOWN]]
        more = len(self._alive) - _SHOWN
        return ", ".join(offers or ["nothing"]) + (f" and {more} more" if more > 0 else "")


_ADVICE = "start a node that does, or reserve less by hardware.cpus_per_trial and hardware.gpus_per_trial"


def _amount(cores: float, accelerators: float) -> str:
    words = f"{cores:g} CPU{'s' * (cores != 1)}"
    return f"{words} and {accelerators:g} GPU{'s' * (accelerators != 1)}" if accelerators else words
