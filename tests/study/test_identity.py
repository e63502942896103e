"""Identities of trials: what a record depends on changes them, and nothing else does."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from slopewise.events import Ended, TrialKey
from slopewise.study import parse_spec
from slopewise.study.data import load_data
from slopewise.study.engines import attempt

TINY: dict[str, Any] = {"data": {"train_size": 60}, "model": {"options": {"width": 2}}, "train": {"epochs": 1}}


def identity(arm: str = "elu", seed: int = 1, **fields: Any) -> str:
    spec = parse_spec({"arms": "relu,elu", "seeds": 2, **TINY, **fields})
    ended = attempt(spec, TrialKey(arm, seed), load_data(spec.data))
    assert isinstance(ended, Ended)
    assert ended.record.identity, ended.record.error
    return ended.record.identity


@pytest.fixture(scope="module")
def usual() -> str:
    return identity()


@pytest.mark.parametrize(
    "fields",
    [
        {"arms": "relu,elu,silu"},
        {"arms": ["elu", {"name": "relu", "activation": "silu"}]},
        {"seeds": 5},
        {"name": "another title"},
        {"margin": 2.0},
        {"hardware": {"cpus_per_trial": 0.5}},
    ],
)
def test_other_arms_seeds_and_titles_do_not_count(usual: str, fields: dict[str, Any]) -> None:
    assert identity(**fields) == usual


@pytest.mark.parametrize(
    "fields",
    [
        {"arm": "relu"},
        {"seed": 0},
        {"arms": ["relu", {"name": "elu", "activation": "elu", "lr": 0.01}]},
        {"train": {"epochs": 1, "lr": 0.01}},
        {"model": {"options": {"width": 3}}},
        {"model": {"options": {"width": 2}, "memory_format": "channels_last"}},
        {"data": {"train_size": 80}},
        {"hardware": {"threads": 2}},
    ],
)
def test_all_that_the_record_depends_on_counts(usual: str, fields: dict[str, Any]) -> None:
    assert identity(**fields) != usual


def test_the_code_of_what_the_spec_names_counts(user_module: Callable[[str, str], str], tmp_path: Path) -> None:
    code = "import torch\ndef act(channels): return torch.nn.ELU()\n"
    arms = ["relu", {"name": "elu", "activation": f"{user_module('own_act', code)}:act"}]
    before = identity(arms=arms)
    assert identity(arms=arms) == before
    (tmp_path / "own_act.py").write_text(code.replace("ELU()", "ELU(0.5)"))
    sys.modules.pop("own_act")
    assert identity(arms=arms) != before
