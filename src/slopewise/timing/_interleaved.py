"""Comparable times: candidates are timed in turn over many rounds, and their ratio is taken within each round.

A machine's speed drifts with its clock rate, its temperature and its other work. Measurements of the same second
drift together, so the candidates take turns (A B C, A B C, ...) and the ratio of two candidates is the median of
their ratios within a round, not the ratio of two medians.
"""

from __future__ import annotations

import gc
import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch

Candidate = Callable[[], object]

_MOST_CALLS = 1000  # in one sample: a candidate that takes a microsecond needs no more


@dataclass(frozen=True, slots=True)
class Ratio:
    """Median and quartiles (`low`, `high`) of the ratios of all rounds."""

    median: float
    low: float
    high: float


def interleaved(
    candidates: Mapping[str, Candidate],
    *,
    rounds: int,
    sample: float = 2e-3,
    budget: float = math.inf,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, tuple[float, ...]]:
    """Return the seconds per call of every candidate, one number per round.

    Each candidate is first called a few times as a warm-up: the first call compiles, loads and allocates, and the
    fastest of the others determines the number of calls in a sample. Every turn begins with an untimed call, because
    the previous candidate has left its traces in the caches and the allocator.

    Args:
        candidates: Functions to time, by name, in the order in which they take turns.
        rounds: Number of turns of each candidate, at least 1.
        sample: Minimum duration of one turn, in seconds; a shorter candidate is called several times in a turn.
        budget: Seconds after which no new round begins. The first three of `rounds` are made in any case.
        clock: Function that returns a monotonic time in seconds.

    Raises:
        ValueError: `rounds` is below 1.

    Example:
        >>> times = interleaved({"sum": lambda: sum(range(50)), "max": lambda: max(range(50))}, rounds=5)
        >>> len(times["sum"]), ratio(times["sum"], times["sum"]).median
        (5, 1.0)
    """
    if rounds < 1:
        raise ValueError(f"rounds must be at least 1, got {rounds}")
    calls = {name: _calls_for(sample, candidate, clock) for name, candidate in candidates.items()}
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    with _garbage_collection_off():
        start = clock()
        for number in range(rounds):
            if number >= 3 and clock() - start > budget:
                break
            for name, candidate in candidates.items():
                candidate()
                seconds[name].append(_seconds_per_call(candidate, calls[name], clock))
    return {name: tuple(times) for name, times in seconds.items()}


def ratio(of: Sequence[float], to: Sequence[float]) -> Ratio:
    """Return the median and quartiles of the ratios of two candidates within each round.

    Raises:
        ValueError: The candidates differ in their number of rounds, or have none.

    Example:
        >>> ratio([2.0, 9.0, 4.0], [1.0, 3.0, 4.0])
        Ratio(median=2.0, low=1.5, high=2.5)
    """
    ratios = [a / b for a, b in zip(of, to, strict=True)]
    if not ratios:
        raise ValueError("a ratio needs at least one round")
    if len(ratios) == 1:
        return Ratio(*ratios * 3)
    low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return Ratio(middle, low, high)


@contextmanager
def using_threads(count: int | None) -> Iterator[None]:
    """Set PyTorch's number of threads to `count` inside the block; None leaves it unchanged."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _calls_for(sample: float, candidate: Candidate, clock: Callable[[], float]) -> int:
    candidate()
    times: list[float] = []
    while len(times) < 2 or (len(times) < 10 and sum(times) < 10 * sample):
        times.append(_seconds_per_call(candidate, 1, clock))
    fastest = min(times)
    return min(math.ceil(sample / max(fastest, sample / _MOST_CALLS)), _MOST_CALLS)


def _seconds_per_call(candidate: Candidate, calls: int, clock: Callable[[], float]) -> float:
    start = clock()
    for _ in range(calls):
        candidate()
    return (clock() - start) / calls


@contextmanager
def _garbage_collection_off() -> Iterator[None]:
    """Disable garbage collection inside the block: it takes milliseconds and would hit one candidate at random."""
    was_on = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
