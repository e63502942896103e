"""Mutations of files, and the runs of ten thousand inputs."""

import faulthandler
import resource
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import TypeVar

import pytest

from slopewise.errors import SlopewiseError, SlopewiseWarning

INPUTS = 10_000
SECONDS = 20  # that one input may take before it counts as a hang
GROWTH = 512 * 2**20  # bytes by which the process may grow over a whole run

_CHUNKS = (b"", b"\0" * 4, b"\xff" * 4, b"\xff" * 8, b"\x7f\xff\xff\xff", b"[" * 40, b"{" * 40, b"9" * 40, b"\n", b'"')


_Input = TypeVar("_Input")


def for_many(make: Callable[[Random], _Input], check: Callable[[_Input], None]) -> None:
    """Check as many inputs as are asked for, always the same; an error has a note of its input's seed.

    Hypothesis would take as long for an input as a reader does, and could make none of these smaller.
    """
    for seed in range(INPUTS):
        given = make(Random(seed))
        try:
            check(given)
        except BaseException as error:
            error.add_note(f"input of seed {seed}: {given!r:.1000}")
            raise


def damaged(bases: Sequence[bytes], random: Random) -> tuple[int, bytes]:
    """Return the number of one of the files, and a copy of it with some places changed at random."""
    number = random.randrange(len(bases))
    data = bytearray(bases[number])
    for _ in range(random.randint(1, 4)):
        place, kind, size = random.randint(0, len(data)), random.randrange(11), random.randint(1, 64)
        chunk = random.choice((*_CHUNKS, random.randbytes(random.randint(1, 8))))
        if kind < 4:
            data[place : place + len(chunk)] = chunk
        elif kind < 7:
            data[place : place + 1] = bytes(byte ^ 1 << random.randrange(8) for byte in data[place : place + 1])
        elif kind == 7:
            data[place:place] = chunk
        elif kind == 8:
            del data[place : place + size]
        elif kind == 9:
            data[place:place] = data[place : place + size]
        else:
            del data[place:]
    return number, bytes(data)


class OnlyOwnErrors:
    """Context manager that allows results, errors of ours in one line, and warnings of ours; a hang ends the process.

    A watch over every input would take longer than the inputs, so that it is wound up only now and then.
    """

    def __init__(self) -> None:
        self._count, self._caught = 0, warnings.catch_warnings()

    def __enter__(self) -> None:
        if self._count % 50 == 0:
            faulthandler.dump_traceback_later(SECONDS, exit=True)
        self._count += 1
        self._caught = warnings.catch_warnings()
        self._caught.__enter__()
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", SlopewiseWarning)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        self._caught.__exit__(kind, error, trace)
        return isinstance(error, SlopewiseError) and "\n" not in str(error) and len(str(error)) < 4000


@pytest.fixture
def only_own_errors() -> Iterator[OnlyOwnErrors]:
    """Return the guard of all inputs of a test."""
    yield OnlyOwnErrors()
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture
def scratch() -> Iterator[Path]:
    """Return a folder for files that are written ten thousand times, in memory where there is such a place."""
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)


@pytest.fixture
def bounded() -> Iterator[None]:
    """Check that the test does not make the process grow."""
    before = _peak()
    yield
    assert _peak() - before < GROWTH


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
