import json
import math
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "coverage.py"


def test_a_small_run_prints_tables_and_writes_json(tmp_path):
    path = tmp_path / "folder" / "coverage.json"
    run = subprocess.run(
        [sys.executable, "-W", "error", SCRIPT, "--studies", "40", "--json", path],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Coverage of the nominal 95 % interval" in run.stdout
    assert "Highest share of A/A studies" in run.stdout
    results = json.loads(path.read_text(), parse_constant=lambda name: math.nan)
    for row in results["intervals"]:
        assert row["t"]["coverage"] > 0.8 or row["shape"] == "arms diverge"
    for row in results["verdicts"]:
        words = ("helps", "hurts", "no practical effect", "inconclusive")
        assert math.isclose(sum(row[word] for word in words), 1)
        if row["seeds"] == 5:  # below the floor of eight
            assert row["any"] == 0
