"""Fixtures of studies."""

from __future__ import annotations

import pytest

from slopewise.study import _operator_cost


@pytest.fixture(autouse=True)
def _few_turns(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Time operators as briefly as possible: beside other tests, their figures mean nothing."""
    if "test_operator_cost" not in request.node.nodeid:
        monkeypatch.setattr(_operator_cost, "_TURN", 0.001)
        monkeypatch.setattr(_operator_cost, "_BUDGET", 0.0)
