"""Pages of studies: made of compact records, which lose nothing that a claim is judged on."""

import math
import subprocess
import sys
from pathlib import Path

import pytest

from slopewise.analysis import analyse, tuning
from slopewise.analysis.claims import ledger
from slopewise.testing import synthetic_study, with_cells

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools"))
compact_records = pytest.importorskip("compact_records")
quotes = pytest.importorskip("quotes")


def test_compact_records_give_the_same_ledger(tmp_path: Path) -> None:
    study = with_cells(
        synthetic_study(("relu", "prelu_shared", "prelu_channel"), seeds=8, effects={"prelu_shared": 2.0})
    )
    path = tmp_path / "study.json.gz"
    compact_records.write(study, path)
    again = compact_records.read(path)
    for entry, other in zip(ledger(study), ledger(again), strict=True):
        assert (entry.claim, entry.verdict, entry.finding.n) == (other.claim, other.verdict, other.finding.n)
        if entry.finding.estimate is not None:
            assert math.isclose(entry.finding.estimate, other.finding.estimate or 0.0, rel_tol=1e-4, abs_tol=1e-6)
    assert tuning(again) == tuning(study)
    assert [c.verdict for c in analyse(again).primary] == [c.verdict for c in analyse(study).primary]
    before = path.read_bytes()
    compact_records.write(study, path)
    assert path.read_bytes() == before


def test_templates_quote_the_findings_of_an_arm() -> None:
    study = with_cells(
        synthetic_study(("relu", "prelu_shared", "prelu_channel"), seeds=8, effects={"prelu_shared": 2.0}),
        factors={"model.options.batch_norm": [True]},
        seeds=8,
    )
    entries = ledger(study)
    functions = quotes.speech({"own": entries}, "own")
    (entry,) = (entry for entry in entries if entry.claim == "slope-per-channel")
    assert functions["part"]("slope-per-channel") is entry.parts[-1]
    assert functions["verdict"]("slope-per-channel", study="own") == "contradicted"
    estimate, (low, high) = entry.parts[-1].estimate, entry.parts[-1].interval
    assert functions["figure"](
        "slope-per-channel"
    ) == f"{estimate:.2f} points [{low:.2f}, {high:.2f}] (8 seeds)".replace("-", "−")
    assert functions["says"]("slope-per-channel").endswith(": **the opposite is shown**")
    arms = {
        functions["part"]("batch-norm", "gain with batch", arm).arms[0] for arm in ("prelu_shared", "prelu_channel")
    }
    assert arms == {"prelu_shared", "prelu_channel"}


def test_the_pages_are_what_the_records_give() -> None:
    command = [sys.executable, str(ROOT / "tools" / "study_pages.py"), "--check"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
