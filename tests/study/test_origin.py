"""Origins, which distinguish processes of the same number."""

import os
import subprocess
from dataclasses import replace

import pytest

from slopewise.study import _origin
from slopewise.study._origin import has_ended, moved, origin


def test_this_process_has_not_ended_and_one_of_its_number_before_it_has() -> None:
    here = origin()
    assert not has_ended(os.getpid(), here)
    assert here.born is not None
    assert has_ended(os.getpid(), replace(here, born=here.born - 1))
    assert not has_ended(os.getpid(), replace(here, born=None))


@pytest.mark.parametrize("waited_for", [True, False])
@pytest.mark.parametrize("hidden", [True, False])  # as where /proc is not there, or not for everybody
def test_a_process_that_has_been_killed(waited_for: bool, hidden: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
        born = replace(origin(), born=_origin._state(process.pid)[1])
        if hidden:
            monkeypatch.setattr(_origin, "_state", lambda pid: None)
        assert not has_ended(process.pid, born)
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        if waited_for:
            process.wait()
        assert has_ended(process.pid, born) == (waited_for or not hidden)


@pytest.mark.parametrize("field", ["host", "boot", "space"])
def test_of_another_place_nothing_is_known(field: str) -> None:
    there = replace(origin(), **{field: "another"})
    assert not has_ended(2**22 + 1, there)
    assert has_ended(2**22 + 1, origin())
    assert moved(there) == (field == "boot")
