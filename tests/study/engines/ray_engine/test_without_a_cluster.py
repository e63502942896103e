"""Decisions of the engine without a cluster: its options, the room of nodes, the meaning of Ray's errors."""

from __future__ import annotations

import subprocess
import sys

import pytest

from slopewise.errors import EngineError
from slopewise.study import StudySpec
from slopewise.study.engines import RayEngine, make_engine


def test_missing_ray_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(EngineError, match=r"engine 'ray' needs 'ray': pip install 'slopewise\[ray\]'"):
        make_engine("ray", {"address": "auto"}).capacity(StudySpec())


def test_ray_is_imported_by_those_who_use_it() -> None:
    code = (
        "import slopewise.study.engines as e, sys; e.make_engine('ray', {'workers': '2'}); print('ray' in sys.modules)"
    )
    assert subprocess.check_output([sys.executable, "-c", code]) == b"False\n"


def test_options() -> None:
    engine = make_engine("ray", {"address": "10.0.0.1:6379", "workers": "8", "patience": "5"})
    assert (engine.address, engine.workers, engine.working_dir, engine.patience) == ("10.0.0.1:6379", 8, None, 5.0)
    assert engine.capacity(StudySpec()) == 8
    with pytest.raises(EngineError, match="address ray://there:10001: Ray Client is not supported"):
        RayEngine(address="ray://there:10001")
    with (
        pytest.raises(EngineError, match="working_dir 'nowhere' is no folder"),
        RayEngine(working_dir="nowhere").open(StudySpec(), None),
    ):
        pass


def test_ray_address_is_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "ray://there:10001")
    with pytest.raises(EngineError, match="Ray Client"):
        RayEngine()
    assert RayEngine(address="local").capacity(StudySpec(hardware={"cpus_per_trial": 0.001})) >= 1000
