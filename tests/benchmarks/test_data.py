import json
from unittest.mock import patch

import pytest
from tests.benchmark_scripts import imported, run_main


@pytest.mark.slow
def test_a_small_run_prints_a_table_and_writes_json(tmp_path, capsys):
    path = tmp_path / "data.json"
    with imported("data") as data:
        measure = data.once

        def one_in_a_process(candidate, folder):  # all of them are started alike
            return measure(candidate, folder) if candidate == "loader" else data.ONCE[candidate](folder)

        with patch.object(data, "once", one_in_a_process):
            run_main(data, "--images", "20", "--gib", "0.01", "--rounds", "1", "--json", path)
    assert "peak memory / images" in capsys.readouterr().out
    results = json.loads(path.read_text())
    assert results["turns"][0].keys() == {"plain", "loader", "ours"}
    assert results["memory"]["peak"]["bytes"] > 2**23
    assert all(target["measured"] is not None for target in results["targets"])
