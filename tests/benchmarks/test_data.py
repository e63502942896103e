import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "data.py"


@pytest.mark.slow
def test_a_small_run_prints_a_table_and_writes_json(tmp_path):
    path = tmp_path / "data.json"
    options = ["--images", "20", "--gib", "0.01", "--rounds", "1", "--json", path]
    run = subprocess.run([sys.executable, "-W", "error", SCRIPT, *options], capture_output=True, text=True, check=True)
    assert "peak memory / images" in run.stdout
    results = json.loads(path.read_text())
    assert results["turns"][0].keys() == {"plain", "loader", "ours"}
    assert results["memory"]["peak"]["bytes"] > 2**23
    assert all(target["measured"] is not None for target in results["targets"])
