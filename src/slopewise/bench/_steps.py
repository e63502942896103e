"""Times and page faults of training steps, with freed memory returned to the system and with memory kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial

from slopewise.bench._measurement import Job, Measurement
from slopewise.machine import keep_memory, memory_is_kept
from slopewise.timing import interleaved

FAULTS = "page faults in a training step"
_ROUNDS = 3


def step_measurements(
    steps: Mapping[str, Callable[[], object]], case: Mapping[str, str], *, rounds: int, budget: float
) -> list[Measurement]:
    """Measure time and page faults of training steps, which take turns; the case gets what the allocator does.

    Args:
        steps: Functions that take a step, by candidate.
        case: Conditions of the measurement.
        rounds: Number of timed steps of each candidate.
        budget: Time limit in seconds for these rounds, as in `interleaved`.
    """
    case = {**case, "memory": "memory kept" if memory_is_kept() else "memory returned"}
    timed = Measurement("training step", case, interleaved(steps, rounds=rounds, budget=budget), "s")
    faults: dict[str, list[float]] = {name: [] for name in steps}
    for name, step in [*steps.items()] * _ROUNDS:
        if (count := page_faults(step)) is None:
            return [timed]
        faults[name].append(float(count))
    return [timed, Measurement(FAULTS, case, {name: tuple(counts) for name, counts in faults.items()}, "faults")]


def with_memory_kept(jobs: Iterable[Job]) -> list[Job]:
    """Return jobs that first have this process keep its memory, and measure nothing where that is impossible.

    They come last: memory that is kept stays kept.

    Example:
        >>> [words for words, _ in with_memory_kept([("training step", list)])]
        ['training step, memory kept']
    """

    def measure(job: Callable[[], list[Measurement]]) -> list[Measurement]:
        return job() if keep_memory() else []

    return [(f"{words}, memory kept", partial(measure, job)) for words, job in jobs]


def page_faults(function: Callable[[], object]) -> int | None:
    """Return the number of page faults in a call that read no file; None where the system does not count them.

    In each, the process gets a page of memory from the system, 4 KiB of zeros on most machines.

    Example:
        >>> faults = page_faults(lambda: bytes(10**7))
        >>> faults is None or faults >= 0
        True
    """
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        function()
        return None
    read = partial(resource.getrusage, resource.RUSAGE_SELF)
    before = read().ru_minflt
    function()
    return read().ru_minflt - before
