"""Fixtures that several rooms use."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from functools import cache, wraps
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import torch
from hypothesis import settings

from slopewise.optim import set_shared_gradient
from slopewise.study import _operator_cost
from slopewise.support import _once

if __package__:
    from . import warm_spawn as forks
else:  # scripts of tests import this file by its name
    import warm_spawn as forks

# Machines differ in speed: how long an example takes says nothing about the code.
settings.register_profile("slopewise", deadline=None)
settings.load_profile("slopewise")

# Test workers side by side share the cores, their child processes too: with more threads than cores, those of PyTorch
# burn time in waiting for each other. A single worker keeps PyTorch's default.
if workers := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "0")):
    share = max(1, torch.get_num_threads() // workers)
    os.environ.setdefault("OMP_NUM_THREADS", str(share))
    torch.set_num_threads(share)

# After the first seed of an arm, a study compares operators for ten times as long as a test trains.
_operator_cost._ROUNDS, _operator_cost._TURN = 3, 0.001

# A warning that comes once per process would fail whichever test is first; whoever sets the rule is not warned.
set_shared_gradient(torch.nn.Identity(), "sum")

# torch.onnx reads the code of all its operators' translations anew for each export: a second, where the rest takes half
# of one for a network of the tests. What it gets is always the same, and exports only look things up in it.
_export_to_onnx = torch.onnx.export


@wraps(_export_to_onnx)
def _export_with_kept_translations(*arguments: object, **settings: object) -> object:
    _keep_translations()
    return _export_to_onnx(*arguments, **settings)


@cache
def _keep_translations() -> None:
    from torch.onnx._internal.exporter._registration import ONNXRegistry  # which imports onnxscript

    ONNXRegistry.from_torchlib = staticmethod(cache(ONNXRegistry.from_torchlib))


torch.onnx.export = _export_with_kept_translations


# torchvision's compiled operators load in one build of PyTorch alone. Its Python parts, which timm and transformers
# import, need no more than that operators of these names are known.
_OPERATORS = ("nms", "qnms", "roi_align", "roi_pool", "deform_conv2d", "ps_roi_align", "ps_roi_pool")
_TORCHVISION = torch.library.Library("torchvision", "FRAGMENT")
for _name in _OPERATORS:
    for _schema in (_name, f"_{_name}_backward"):
        if not hasattr(torch.ops.torchvision, _schema):
            _TORCHVISION.define(f"{_schema}(Tensor input) -> Tensor")

# What the trainers' own libraries need here. torchvision's compiled operators load in one build of PyTorch alone, and
# torchmetrics, which Lightning imports, wants to know their names. Lightning calls what PyTorch deprecates and advises
# on workers; Weights & Biases leaves temporary folders to the garbage collector.
_LIBRARIES = """
import warnings
import torch
library = torch.library.Library("torchvision", "FRAGMENT")
for name in ("nms", "qnms", "roi_align", "roi_pool", "deform_conv2d", "ps_roi_align", "ps_roi_pool"):
    for schema in (name, f"_{name}_backward"):
        library.define(f"{schema}(Tensor input) -> Tensor")
warnings.filterwarnings("ignore", "`isinstance.treespec, LeafSpec.` is deprecated", FutureWarning)
warnings.filterwarnings("ignore", "The 'train_dataloader' does not have many workers")
warnings.filterwarnings("ignore", "Implicitly cleaning up", ResourceWarning)
"""


def pytest_collection_finish() -> None:
    """Spare each garbage collection, of which trials make some, the modules and tests that are never garbage."""
    if workers:
        forks.load()
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[object]:
    with nullcontext() if item.get_closest_marker("cold") else forks.warm_spawn():
        return (yield)


# Variables that change while tests run: those that slopewise alone reads, and what libraries set for themselves.
_OF_NO_EFFECT = {"COLUMNS", "NO_COLOR", "PYTEST_CURRENT_TEST", "CUBLAS_WORKSPACE_CONFIG", "RAY_CLIENT_MODE"}
_OF_NO_EFFECT |= {"_RJEM_MALLOC_CONF", "_MLFLOW_TELEMETRY_SESSION_ID"}


class CommandServer:
    """`tests/command_server.py`, started when it is first needed."""

    def __init__(self, folder: Path) -> None:
        forks.load()  # some of it sets variables, which shall not make the environments differ
        self.folder, self.environment = folder, dict(os.environ)
        command = [sys.executable, "-W", "error", Path(__file__).with_name("command_server.py")]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
            env={**self.environment, "OPENBLAS_NUM_THREADS": "1"},
        )  # fmt: skip

    def run(self, command: Sequence[str], folder: Path, environment: dict[str, str]) -> tuple[int, str, str]:
        """Exit status, stdout and stderr of a command."""
        streams = [self.folder / "stdout", self.folder / "stderr"]
        for stream in streams:
            stream.write_bytes(b"")
        status = self._ask(command, folder, environment, *streams)
        return status, *(stream.read_bytes().decode() for stream in streams)

    def run_on_terminal(self, command: Sequence[str], folder: Path, environment: dict[str, str]) -> tuple[int, str]:
        """Exit status of a command, and what a terminal got of it."""
        ours, theirs = os.openpty()
        got = bytearray()

        def read() -> None:
            with suppress(OSError):  # nobody has the other end open any more
                while data := os.read(ours, 65536):
                    got.extend(data)

        reader = Thread(target=read)
        reader.start()
        try:
            status = self._ask(command, folder, environment, os.ttyname(theirs), os.ttyname(theirs))
        finally:
            os.close(theirs)
            reader.join()
            os.close(ours)
        return status, got.decode()

    def _ask(
        self, command: Sequence[str], folder: Path, environment: dict[str, str], stdout: str | Path, stderr: str | Path
    ) -> int:
        assert self._process.stdin
        assert self._process.stdout
        request = {"folder": folder, "environment": environment, "arguments": command}
        request |= {"stdout": stdout, "stderr": stderr}
        print(json.dumps(request, default=str), file=self._process.stdin, flush=True)
        return int(self._process.stdout.readline())

    def close(self) -> None:
        """End it, and a command that hangs."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()


@pytest.fixture(scope="session")
def command_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], CommandServer]]:
    """Get the session's server."""
    running: list[CommandServer] = []

    def get() -> CommandServer:
        if not running:
            running.append(CommandServer(tmp_path_factory.mktemp("commands")))
        return running[0]

    yield get
    for server in running:
        server.close()


@pytest.fixture
def cli(tmp_path: Path, command_server: Callable[[], CommandServer]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the real command, in a process and in a folder of its own; `prefix` stands before it, as in `nice`."""

    def run(*arguments: str | Path, prefix: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
        words = [*map(str, arguments)]
        environment = {**os.environ, "COLUMNS": "120", "NO_COLOR": "1"}
        if sys.platform == "linux" and not prefix and same(server := command_server(), environment):
            return subprocess.CompletedProcess(words, *server.run(words, tmp_path, environment))
        command = [*prefix, sys.executable, "-W", "error", "-m", "slopewise", *words]
        return subprocess.run(
            command, cwd=tmp_path, env=environment, text=True, capture_output=True, check=False, timeout=240
        )

    def same(server: CommandServer, environment: dict[str, str]) -> bool:
        """Return True if no variable differs that Python or a library reads when it is loaded."""
        return all(
            server.environment.get(name) == environment.get(name)
            for name in {*server.environment, *environment} - _OF_NO_EFFECT
        )

    return run


@pytest.fixture(scope="session")
def start_script() -> Callable[..., subprocess.Popen[Any]]:
    """Get the function that starts a script as a process of its own, without the seconds of its imports."""
    return forks.start_script


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Mapping[str, str]], None]:
    """Make entry points known, as an installed package does."""

    def write(group: str, entries: Mapping[str, str]) -> None:
        folder = tmp_path / "site" / "installed-1.0.dist-info"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: installed\nVersion: 1.0\n")
        lines = (f"{name} = {value}" for name, value in entries.items())
        (folder / "entry_points.txt").write_text("\n".join([f"[{group}]", *lines]) + "\n")
        monkeypatch.syspath_prepend(folder.parent)

    return write


@pytest.fixture
def as_new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget which warnings were given: they come once per process."""
    monkeypatch.setattr(_once, "_given", set())


@pytest.fixture
def user_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], str]:
    """Write a user's own module where this process and its workers can import it; returns its name."""

    def write(name: str, code: str) -> str:
        (tmp_path / f"{name}.py").write_text(code, encoding="utf-8")
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.delitem(sys.modules, name, raising=False)
        return name

    return write


@pytest.fixture
def libraries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let processes that are started from here import and use the training libraries."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site/sitecustomize.py").write_text(_LIBRARIES, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"), prepend=os.pathsep)
