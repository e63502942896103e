"""Trials in spawned worker processes of this machine.

Each worker has a pipe of its own to the driver. Nothing is shared between workers but the images, which all of them
read and none writes: no lock and no queue, so that a worker that is killed at any moment cannot hold up the others.
Its end shows as the end of its pipe.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

from slopewise.machine import cores
from slopewise.study._spec import StudySpec
from slopewise.study.engines._base import Engine
from slopewise.study.engines._crew import Crew
from slopewise.study.engines._job_control import stopped_together
from slopewise.study.engines._needs import Needs
from slopewise.study.engines._option import Option
from slopewise.study.engines._process import Worker

if TYPE_CHECKING:
    from slopewise.study._workplace import TrialData


class LocalEngine(Engine):
    """Runs trials in processes of this machine, side by side.

    Args:
        workers: Number of processes; None is the number of cores divided by those that a trial takes. Trials on a
            GPU share it: all of them, or as many as `hardware.gpus_per_trial` lets.
        growth_gib: Memory in GiB by which a worker may grow from one trial to the next, counted from the end of its
            first; one that has grown by more is replaced between two trials. 0 gives each trial a process of its own.

    Example:
        >>> LocalEngine(workers=2).workers
        2
    """

    options = (
        Option("workers", int, "Processes side by side; by default one for each core.", least=1, most=1024),
        Option("growth_gib", float, "Memory by which a worker may grow before it is replaced.", 2.0, least=0),
    )
    workers: int | None
    growth_gib: float

    def __init__(self, workers: int | None = None, growth_gib: float = 2.0) -> None:
        super().__init__(workers=workers, growth_gib=growth_gib)

    def capacity(self, spec: StudySpec) -> int:
        """Return the number of worker processes."""
        return self.workers or max(1, Needs.of(spec).room(cores(), _accelerators(spec)))

    @contextmanager
    def open(self, spec: StudySpec, data: TrialData) -> Iterator[Crew]:
        """Start workers as they are needed, and end them when the block is left."""

        def start(row: int) -> Worker:
            return Worker.start(_serve, spec, data, self.growth_gib * 2**30, row=row)

        with Crew(self.capacity(spec), start) as crew, stopped_together(crew.workers):
            yield crew


def _accelerators(spec: StudySpec) -> float:
    """Return the number of this machine's accelerators if the spec says what share of one a trial takes."""
    if not spec.hardware.gpus_per_trial:
        return math.inf
    import torch  # only here: the command line does not wait for it

    return torch.accelerator.device_count() or math.inf


def _serve(pipe: Connection, spec: StudySpec, data: TrialData, growth: float) -> None:
    from slopewise.study.engines._worker import serve  # what trains is loaded by workers alone

    serve(pipe, spec, data, growth)
