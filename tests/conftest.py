"""Fixtures that several rooms use."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from hypothesis import settings

# Machines differ in speed: how long an example takes says nothing about the code.
settings.register_profile("slopewise", deadline=None)
settings.load_profile("slopewise")


# torchvision's compiled operators load in one build of PyTorch alone. Its Python parts, which timm and transformers
# import, need no more than that operators of these names are known.
_OPERATORS = ("nms", "qnms", "roi_align", "roi_pool", "deform_conv2d", "ps_roi_align", "ps_roi_pool")
_TORCHVISION = torch.library.Library("torchvision", "FRAGMENT")
for _name in _OPERATORS:
    for _schema in (_name, f"_{_name}_backward"):
        if not hasattr(torch.ops.torchvision, _schema):
            _TORCHVISION.define(f"{_schema}(Tensor input) -> Tensor")


@pytest.fixture
def cli(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the real command in a folder of its own; `prefix` stands before it, as in `nice`."""

    def run(*arguments: str | Path, prefix: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
        command = [*prefix, sys.executable, "-W", "error", "-m", "slopewise", *map(str, arguments)]
        environment = {**os.environ, "COLUMNS": "120", "NO_COLOR": "1"}
        return subprocess.run(
            command, cwd=tmp_path, env=environment, text=True, capture_output=True, check=False, timeout=240
        )

    return run


@pytest.fixture
def user_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], str]:
    """Write a user's own module where this process and its workers can import it; returns its name."""

    def write(name: str, code: str) -> str:
        (tmp_path / f"{name}.py").write_text(code, encoding="utf-8")
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.delitem(sys.modules, name, raising=False)
        return name

    return write
