"""Memory that a process keeps: its page faults, its bits, and the systems where nothing can be kept."""

import ctypes
import platform
import subprocess
import sys

import pytest

from slopewise.machine import keep_memory, memory_is_kept

on_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told to keep memory")

# Activations of 2 MiB, each larger than what glibc takes from its heap by default.
STEPS = """
import hashlib, resource, torch
from slopewise.machine import keep_memory, memory_is_kept

def train():
    torch.manual_seed(0)
    net = torch.nn.Sequential(*[m for _ in range(4) for m in (torch.nn.Conv2d(16, 16, 3, padding=1), torch.nn.PReLU())])
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    images = torch.randn(8, 16, 64, 64)
    for step in range(20):
        if step == 15:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        optimizer.zero_grad()
        net(images).square().mean().backward()
        optimizer.step()
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    weights = b"".join(p.detach().numpy().tobytes() for p in net.parameters())
    return faults, hashlib.sha256(weights).hexdigest()

torch.set_num_threads(1)
print(memory_is_kept(), *train())
print(keep_memory(), *train())
"""


@on_glibc
def test_steps_with_memory_kept_cause_hardly_any_page_faults_and_compute_the_same_bits():
    ended = subprocess.run([sys.executable, "-c", STEPS], capture_output=True, text=True, check=True, timeout=240)
    (returned, faults, weights), (kept, faults_kept, weights_kept) = map(str.split, ended.stdout.splitlines())
    assert (returned, kept) == ("False", "True")
    assert int(faults) > 1000
    assert int(faults_kept) < int(faults) / 10
    assert weights_kept == weights


@on_glibc
def test_large_blocks_are_still_given_to_every_thread():
    """The heap of a thread other than the first is too small for such a block, which glibc then maps all the same."""
    code = (
        "import threading; from slopewise.machine import keep_memory; assert keep_memory(); sizes = []\n"
        "thread = threading.Thread(target=lambda: sizes.append(len(bytearray(2**28)))); thread.start(); thread.join()\n"
        "assert sizes == [2**28]"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=240)


class Library:
    """C library whose functions are found by name, as ctypes does it."""

    def __init__(self, **functions):
        self.__dict__.update(functions)


def function(result=None):
    return ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_int)(lambda *_: result)


@pytest.fixture
def libraries(monkeypatch):
    """Libraries by name, None being the process."""
    known = {}

    def load(name):
        if name not in known:
            raise OSError(f"{name}: cannot open shared object file")
        return known[name]

    monkeypatch.setattr(ctypes, "CDLL", load)
    monkeypatch.setattr(sys, "platform", "linux")
    yield known
    known.clear()
    keep_memory()  # finds nothing, and forgets what a test has told it


def test_glibc_is_told_neither_to_map_blocks_nor_to_trim(libraries):
    told, malloc = [], function()
    libraries[None] = Library(malloc=malloc)
    libraries["libc.so.6"] = Library(malloc=malloc, mallopt=lambda *setting: told.append(setting) or 1)
    assert keep_memory()
    assert memory_is_kept()
    assert told == [(-4, 0), (-1, -1)]  # M_MMAP_MAX and M_TRIM_THRESHOLD of malloc.h


def test_musl_has_nothing_to_tell(libraries):
    libraries[None] = Library(malloc=function())
    assert not keep_memory()
    libraries["libc.so.6"] = Library(malloc=libraries[None].malloc)  # a link under glibc's name, as gcompat has it
    assert not keep_memory()
    assert not memory_is_kept()


def test_an_allocator_that_has_replaced_that_of_glibc_is_left_alone(libraries):
    libraries[None] = Library(malloc=function())
    libraries["libc.so.6"] = Library(
        malloc=function(), mallopt=lambda *_: pytest.fail("told glibc, which is not in use")
    )
    assert not keep_memory()


def test_a_refusal_is_passed_on(libraries):
    malloc = function()
    libraries[None] = Library(malloc=malloc)
    libraries["libc.so.6"] = Library(malloc=malloc, mallopt=lambda *_: 0)
    assert not keep_memory()
    assert not memory_is_kept()


def test_other_systems_are_not_even_asked(libraries, monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(ctypes, "CDLL", lambda _: pytest.fail("looked for a library"))
    assert not keep_memory()
