"""Global state that a trial leaves behind: the next trial in the process starts as the first one did."""

import gc
import os
import signal
import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from slopewise.study.engines._state import state_restored


def denormals() -> bool:
    return bool((torch.tensor([1e-39]) * 1.0).item())


STATE: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "dtype": (torch.get_default_dtype, lambda: torch.set_default_dtype(torch.float64)),
    "device": (torch.get_default_device, lambda: torch.set_default_device("meta")),
    "gradients": (torch.is_grad_enabled, lambda: torch.set_grad_enabled(False)),
    "denormals": (denormals, lambda: torch.set_flush_denormal(True)),
    "deterministic": (torch.are_deterministic_algorithms_enabled, lambda: torch.use_deterministic_algorithms(True)),  # noqa: FBT003
    "precision": (torch.get_float32_matmul_precision, lambda: torch.set_float32_matmul_precision("medium")),
    "anomaly": (torch.is_anomaly_enabled, lambda: torch.autograd.set_detect_anomaly(True)),
    "benchmark": (
        lambda: torch.backends.cudnn.benchmark,
        lambda: torch.backends.cudnn.set_flags(_benchmark=True),
    ),
    "mkldnn": (lambda: torch.backends.mkldnn.enabled, lambda: torch.backends.mkldnn.set_flags(_enabled=False)),
    "autocast": (lambda: torch.is_autocast_enabled("cpu"), lambda: torch.set_autocast_enabled("cpu", True)),  # noqa: FBT003
    "autocast dtype": (
        lambda: torch.get_autocast_dtype("cpu"),
        lambda: torch.set_autocast_dtype("cpu", torch.float16),
    ),
    "errors": (np.geterr, lambda: np.seterr(all="raise")),
    "environment": (lambda: dict(os.environ), lambda: os.environ.update({"HOME": "/", "A_NEW_ONE": "1"})),
    "removed": (lambda: os.environ.get("PATH"), lambda: os.environ.pop("PATH")),
    "folder": (os.getcwd, lambda: os.chdir("/")),
    "path": (lambda: list(sys.path), lambda: sys.path.insert(0, "elsewhere")),
    "filters": (lambda: list(warnings.filters), lambda: warnings.simplefilter("ignore")),
    "output": (lambda: sys.stdout, lambda: setattr(sys, "stdout", sys.stderr)),
    "collector": (gc.isenabled, gc.disable),
    "depth": (sys.getrecursionlimit, lambda: sys.setrecursionlimit(50_000)),
    "signal": (lambda: signal.getsignal(signal.SIGTERM), lambda: signal.signal(signal.SIGTERM, signal.SIG_IGN)),
}


@pytest.mark.parametrize("name", STATE)
def test_state_is_restored_after_an_error(name: str) -> None:
    read, change = STATE[name]
    before = read()
    with pytest.raises(ZeroDivisionError), state_restored():  # noqa: PT012
        change()
        assert read() != before  # the change is one that can be seen
        raise ZeroDivisionError
    assert read() == before


def test_a_folder_that_is_gone_is_no_fault(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").mkdir()
    monkeypatch.chdir(tmp_path / "a")
    with state_restored():
        os.chdir(tmp_path)
        (tmp_path / "a").rmdir()
