"""A real cluster of two nodes on this machine, which all tests of the engine share; it asks for a token."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

TOKEN = "RAY_AUTH_TOKEN_PATH"


class RayCluster:
    """`cluster.py`, in a process of its own: nothing of Ray's set-up is done to this one."""

    def __init__(self, token: Path) -> None:
        script = Path(__file__).with_name("cluster.py")
        environment = {**os.environ, "RAY_AUTH_MODE": "token", TOKEN: str(token), "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip
        self.token, self.address = token, self._answer()

    def add(self, cores: int, name: str) -> None:
        self._ask(f"add {cores} {name}")

    def remove(self, name: str) -> None:
        self._ask(f"remove {name}")

    def close(self) -> None:
        self._process.communicate(timeout=60)

    def _ask(self, line: str) -> None:
        print(line, file=self._process.stdin, flush=True)
        assert self._answer() == "done"

    def _answer(self) -> str:
        return self._process.stdout.readline().strip()


@pytest.fixture(scope="session")
def running_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayCluster]:
    pytest.importorskip("ray")
    token = tmp_path_factory.mktemp("ray") / "token"
    token.write_text("0123456789abcdef" * 4)
    cluster = RayCluster(token)
    cluster.add(1, "second")
    yield cluster
    cluster.close()


@pytest.fixture
def cluster(running_cluster: RayCluster, monkeypatch: pytest.MonkeyPatch) -> RayCluster:
    """The cluster, whose token this process and its children know."""
    monkeypatch.setenv(TOKEN, str(running_cluster.token))
    return running_cluster
