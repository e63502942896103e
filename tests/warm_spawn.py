"""Processes that a test starts, by `multiprocessing` or as scripts, as forks that are made to look new.

Importing what a trial needs takes a worker three seconds, and a trial of the tests a tenth of that. A fork has all
modules already. It unpickles its arguments, prepares its path and main module, and ends as a spawned process does, and
has neither the files of its parent, nor modules that are a test's own, nor handlers, filters or exit functions.
What it does not have is a new interpreter: that a worker imports all that it needs is seen by the tests that start
Python without `start_script`, and by those that are marked `cold`.
"""

from __future__ import annotations

import _warnings
import atexit
import faulthandler
import gc
import importlib.util
import os
import pkgutil
import re
import runpy
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from multiprocessing import process, resource_tracker, spawn, util
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import torch

_HANDLES = re.compile(r"spawn_main\(tracker_fd=(\d+), pipe_handle=(\d+)\)")
_INSTALLED = (sys.prefix, sys.base_prefix, str(Path(__file__).parents[1] / "src"))
_STREAMS = 3
_PATH = sys.path[1:]  # without the folder of whoever runs the tests

# What costs a trial or a command most. None of them may start a thread: a fork has none but its own.
_HEAVY = (
    "lightning_fabric",
    "sklearn.datasets",
    "sqlalchemy",
    "slopewise.study:preflight",
    "slopewise.study:run_trial",
    "slopewise.cli",
)


@cache
def load() -> None:
    """Import what forks shall not have to import."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in _HEAVY:
            pkgutil.resolve_name(name)


@contextmanager
def warm_spawn() -> Iterator[None]:
    """Fork where `multiprocessing` would spawn, on Linux; not while PyTorch has threads, which no fork has."""
    cold = util.spawnv_passfds

    def start(path: bytes, command: Sequence[str | bytes], descriptors: Sequence[int]) -> int:
        handles = _HANDLES.search(command[-2])
        if handles is None or torch.get_num_threads() > 1:  # the former is the tracker of resources
            return cold(path, command, descriptors)
        load()
        if child := os.fork():
            return child
        _be_new(["-c", command[-1]], descriptors)
        tracker, pipe = map(int, handles.groups())
        return _live(lambda: spawn.spawn_main(pipe_handle=pipe, tracker_fd=tracker))

    if sys.platform == "linux":
        util.spawnv_passfds = start
    try:
        yield
    finally:
        util.spawnv_passfds = cold


def start_script(
    script: Path | str,
    *arguments: object,
    env: Mapping[str, str] | None = None,
    options: Sequence[str] = (),
    **settings: Any,
) -> subprocess.Popen[Any]:
    """Start `python SCRIPT ARGUMENTS` by `subprocess.Popen`, as a fork where forks may stand for spawned processes.

    Args:
        script: Path of the script, or `-m`, with a module as the first argument.
        arguments: Words of the command line.
        env: Environment of the process.
        options: Values of Python's option `-W`.
        settings: Further arguments of `Popen`.
    """
    words = [*map(str, arguments)]

    def become() -> None:
        """Run the script where `Popen` would load another program; the parent goes on once its pipe is closed here."""
        sys.warnoptions[:] = options
        _be_new([str(script), *words], ())
        process._children.clear()
        os.environ.clear()
        os.environ.update(variables)
        process.ORIGINAL_DIR = str(Path.cwd())
        if script == "-m":
            del sys.argv[0]
            sys.path[:] = [process.ORIGINAL_DIR, *_PATH]
            _live(lambda: runpy.run_module(words[0], run_name="__main__", alter_sys=True))
        place = Path(script).absolute()
        sys.path[:] = [str(place.parent), *_PATH]
        _live(lambda: runpy.run_path(str(place), run_name="__main__"))

    variables = dict(os.environ if env is None else env)
    if sys.platform != "linux" or torch.get_num_threads() > 1:
        command = [sys.executable, *(f"-W{option}" for option in options), str(script), *words]
        return subprocess.Popen(command, env=variables, **settings)
    load()
    return subprocess.Popen(sys.executable, preexec_fn=become, restore_signals=False, **settings)  # noqa: PLW1509


def _be_new(arguments: Sequence[str], descriptors: Sequence[int]) -> None:
    """Drop what a new process does not have."""
    gc.freeze()  # objects of the parent must not be finalized here
    atexit._clear()
    util._finalizer_registry.clear()
    resource_tracker._resource_tracker._pid = resource_tracker._resource_tracker._fd = None
    faulthandler.disable()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM, signal.SIGUSR1):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    signal.set_wakeup_fd(-1)
    # Not closed, because an object of the parent may still close the number, which would be another file's by then.
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in [int(path.name) for path in Path("/proc/self/fd").iterdir()]:
        if number >= _STREAMS and number not in (nothing, *descriptors) and Path(f"/proc/self/fd/{number}").exists():
            os.dup2(nothing, number, inheritable=False)
    sys.stdin, sys.stdout = open(0, closefd=False), open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    sys.argv = [*arguments]
    for name, module in list(sys.modules.items()):
        if name != "__main__" and not (getattr(module, "__file__", None) or sys.prefix).startswith(_INSTALLED):
            del sys.modules[name]
    filters = _warnings.filters[:]
    fresh = _fresh(warnings)  # which processes the interpreter's options once more
    _warnings.filters[:] = filters
    warnings._showwarnmsg_impl, warnings.showwarning = fresh._showwarnmsg_impl, warnings._showwarning_orig
    warnings.filters = fresh.filters  # those of the interpreter, not pytest's copy
    warnings._filters_mutated()


def _live(main: Callable[[], object]) -> NoReturn:
    """Be the process whose main program this is, to its end."""
    status = 0
    try:
        main()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)  # noqa: T201 - as Python does
    except BaseException:
        status = 1
        sys.excepthook(*sys.exc_info())
    finally:
        atexit._run_exitfuncs()
        util._flush_std_streams()
        os._exit(status)


def _fresh(module: ModuleType) -> ModuleType:
    """Execute a module again, as another object."""
    spec = importlib.util.find_spec(module.__name__)
    copy = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(copy)
    return copy
