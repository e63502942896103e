"""Fixtures of studies."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from slopewise.study import _operator_cost

from .postgres import Server, binaries


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """Start a PostgreSQL server; without its programs, a CI machine fails and others skip the test."""
    home = binaries()
    if home is None:
        message = "no PostgreSQL server: install the `postgresql` package"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    server = Server(home)
    yield server
    server.close()


@pytest.fixture(autouse=True)
def _few_turns(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Time operators as briefly as possible: beside other tests, their figures mean nothing."""
    if "test_operator_cost" not in request.node.nodeid:
        monkeypatch.setattr(_operator_cost, "_TURN", 0.001)
        monkeypatch.setattr(_operator_cost, "_BUDGET", 0.0)
