"""The engine: its options, and the number of trials that a cluster has room for."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from slopewise.errors import EngineError
from slopewise.machine import cores
from slopewise.study._spec import StudySpec
from slopewise.study._workplace import Workplace
from slopewise.study.engines._base import Engine
from slopewise.study.engines._needs import Needs
from slopewise.study.engines._option import Option
from slopewise.study.engines._ray._cluster import OWN, connected, joined
from slopewise.study.engines._ray._nodes import Nodes
from slopewise.study.engines._ray._session import RaySession
from slopewise.study.engines._ray._setup import Setup

if TYPE_CHECKING:
    from slopewise.study._workplace import TrialData


class RayEngine(Engine):
    """Runs trials as tasks of a Ray cluster: one of this machine, which it starts and ends, or any other.

    Needs `pip install slopewise[ray]`. docs/cluster.md describes clusters, and what must be on their nodes. If the
    program has called `ray.init` itself, its connection is used and stays.

    Args:
        address: Address of the cluster: `auto` or `HOST:PORT`, from a node of it. None takes the environment variable
            `RAY_ADDRESS`; without it, or with `local`, a cluster of this machine is started and ended with the study.
        workers: Largest number of trials side by side; None is the number that the present nodes have room for.
            Trials beyond the room wait in the cluster, whose autoscaler may add nodes for them.
        working_dir: Folder with your own modules; every node gets a copy of it, which is the working directory of the
            trials there. None expects the modules where this process finds them.
        patience: Number of seconds without any node that could run a trial, after which the study ends.

    Raises:
        EngineError: The address is one of Ray Client, or a value is wrong.

    Example:
        >>> RayEngine(workers=2).workers
        2
    """

    options = (
        Option("address", str, "Ray cluster: auto or HOST:PORT; by default one on this machine, for this study."),
        Option("workers", int, "Trials side by side; by default as many as the nodes have room for.", least=1),
        Option("working_dir", str, "Folder with your own modules, which all nodes get a copy of."),
        Option("patience", float, "Seconds to wait for a node if none can run a trial.", 300.0, least=0),
    )
    address: str | None
    workers: int | None
    working_dir: str | None
    patience: float

    def __init__(
        self,
        address: str | None = None,
        workers: int | None = None,
        working_dir: str | None = None,
        patience: float | None = None,
    ) -> None:
        super().__init__(address=address, workers=workers, working_dir=working_dir, patience=patience)
        if self._place.startswith("ray://"):
            raise EngineError(
                f"address {self._place}: Ray Client is not supported, because a lost client loses its tasks with all "
                "their reports; run the command on a node of the cluster, with address auto"
            )

    @property
    def _place(self) -> str:
        return self.address or os.environ.get("RAY_ADDRESS") or OWN

    def capacity(self, spec: StudySpec) -> int:
        """Return `workers`, or else the number of trials that the nodes of the cluster have room for.

        Raises:
            EngineError: The cluster cannot be reached, or none of its nodes can run a trial.
        """
        if self.workers:
            return self.workers
        needs = Needs.of(spec)
        if self._place == OWN and not connected():
            return max(1, needs.room(cores(), math.inf))
        with joined(self._place):
            return Nodes(needs, self.patience).checked().room()

    @contextmanager
    def open(self, spec: StudySpec, data: TrialData) -> Iterator[RaySession]:
        """Join the cluster, and leave it when the block is left, after all tasks of the session have ended."""
        needs = Needs.of(spec)
        if isinstance(data, Workplace):
            data = replace(data, folder=data.folder.absolute())
        own = self._place == OWN and not connected()
        size = max(cores(), self.capacity(spec) * needs.cores) if own else 0.0
        with joined(self._place, folder=self._folder(), cores=size):
            nodes = Nodes(needs, self.patience).checked()
            setup = Setup.here(spec, data, moved=self.working_dir is not None)
            with RaySession(nodes, setup, needs, self.workers) as session:
                yield session

    def _folder(self) -> Path | None:
        if self.working_dir is None:
            return None
        folder = Path(self.working_dir).expanduser().absolute()
        if not folder.is_dir():
            raise EngineError(f"working_dir '{self.working_dir}' is no folder")
        return folder
