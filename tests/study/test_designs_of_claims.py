"""The lines of a spec that a claim asks for are a spec, and the studies that come with slopewise test every claim."""

import tomllib
from pathlib import Path

import pytest

import slopewise as sw
from slopewise.analysis.claims import Claim, claims, ledger
from slopewise.study import Study
from slopewise.testing import InProcessEngine

STUDIES = Path(__file__).parents[2] / "studies"


@pytest.mark.parametrize("claim", claims(), ids=lambda claim: claim.id)
def test_the_lines_of_a_claim_are_a_spec(claim: Claim) -> None:
    assert Study(**tomllib.loads(claim.toml)).plan()


def test_there_are_studies() -> None:
    assert [*STUDIES.glob("*.toml")]


@pytest.mark.parametrize("path", sorted(STUDIES.glob("*.toml")), ids=lambda path: path.stem)
def test_a_study_has_a_plan(path: Path) -> None:
    assert sw.load_spec(path).plan()


@pytest.mark.slow
def test_the_textbook_study_tests_every_claim(tmp_path: Path) -> None:
    spec = tomllib.loads((STUDIES / "textbook-digits.toml").read_text(encoding="utf-8"))
    for arm in spec["arms"]:
        if isinstance(arm, dict):
            arm.pop("epochs", None)
    small = spec | {
        "seeds": 1,
        "train": {"epochs": 2},  # step times are those of epochs after the first
        "model": {"options": {"width": 2}},
        "data": {"train_size": 300},
        "tune": spec["tune"] | {"points": 3, "seeds": 1, "widen": 10},
        "map": spec["map"] | {"lr": [0.025], "init": [0.0, 0.5]},
    }
    record = Study(**small).run(tmp_path, engine=InProcessEngine()).record
    verdicts = {entry.claim: entry.verdict for entry in ledger(record)}
    assert len(verdicts) >= 16
    assert "not tested" not in verdicts.values(), verdicts
