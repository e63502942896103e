"""Decisions of the engine without a cluster: its options, the room of nodes, the meaning of Ray's errors."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

import pytest

from slopewise.errors import EngineError
from slopewise.events import TrialKey
from slopewise.study import StudySpec
from slopewise.study._origin import origin
from slopewise.study.engines import Needs, RayEngine, make_engine
from slopewise.study.engines._ray._faults import loss
from slopewise.study.engines._ray._mailbox import Place
from slopewise.study.engines._ray._nodes import Nodes


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


HERE = Place("node", "host-3", 17, origin())


@pytest.mark.parametrize(
    ("error", "node_alive", "words", "blameless"),
    [
        ("NodeDiedError", True, "the node host-3 left the cluster", True),
        ("WorkerCrashedError", False, "the node host-3 left the cluster", True),
        ("WorkerCrashedError", True, "the worker process on node host-3 ended (", False),
        ("OutOfMemoryError", True, "the memory on node host-3 ran out, and Ray killed", False),
        ("TaskCancelledError", True, "the task on node host-3 was cancelled by somebody else", False),
        ("RaySystemError", True, "Ray could not run its task on node host-3 (", True),
    ],
)
def test_errors_of_ray_are_losses(error: str, node_alive: bool, words: str, blameless: bool) -> None:
    exceptions, trial = pytest.importorskip("ray.exceptions"), TrialKey("relu", 3)
    arguments = {"TaskCancelledError": [], "WorkerCrashedError": []}.get(error, ["why"])
    lost = loss(trial, getattr(exceptions, error)(*arguments), HERE, node_alive=node_alive, proven=True)
    assert (lost.trial, lost.blameless) == (trial, blameless)
    assert lost.cause.startswith(words)


def test_a_folder_that_cannot_be_sent_ends_the_study() -> None:
    exceptions = pytest.importorskip("ray.exceptions")
    with pytest.raises(EngineError, match=r"the nodes cannot be given the study's working_dir: .*too big"):
        loss(TrialKey("relu", 3), exceptions.RuntimeEnvSetupError("too big"), None, node_alive=True, proven=False)


def test_a_retry_goes_where_the_trial_has_not_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray")
    offers = {"a": 4.0, "b": 8.0, "c": 1.0, "d": 0.0}
    rows = [
        {
            "NodeID": node,
            "NodeManagerHostname": node,
            "Alive": node != "c",
            "Resources": {"CPU": cores} if cores else {},
        }
        for node, cores in offers.items()
    ]
    monkeypatch.setattr(ray, "nodes", lambda: rows)
    nodes = Nodes(Needs(2.0, 0.0), patience=0.0)
    assert nodes.room() == 6
    assert nodes.elsewhere({"b"}, Counter()) == "a"
    assert nodes.elsewhere({"c"}, Counter({"b": 3})) == "a"
    assert nodes.elsewhere({"a", "b"}, Counter()) is None
    rows[:2] = []
    nodes.forget()
    with pytest.raises(EngineError, match=r"no node .* offers 2 CPUs for a trial, for 0 s .*offer 0 CPUs"):
        nodes.room()
