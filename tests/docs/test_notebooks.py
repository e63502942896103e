"""Notebooks run from top to bottom, and are what the examples give.

Their cells are run in this process, as the blocks of pages are: a kernel of Jupyter for each (nbmake, nbconvert) takes
longer than the examples themselves, and sees no other fault, since the cells are plain Python.
"""

import json
from pathlib import Path

import pytest
import torch

from .pages import ROOT

NOTEBOOKS = sorted((ROOT / "examples/notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_holds_no_outputs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    content = json.loads(path.read_text(encoding="utf-8"))
    assert (content["nbformat"], len({cell["id"] for cell in content["cells"]})) == (4, len(content["cells"]))
    assert content["cells"][0]["source"][0].startswith("# ")
    names: dict[str, object] = {"__name__": path.stem}
    with torch.random.fork_rng():
        for cell in content["cells"]:
            if cell["cell_type"] == "code":
                assert (cell["outputs"], cell["execution_count"]) == ([], None)
                exec(compile("".join(cell["source"]), f"{path.name}, {cell['id']}", "exec"), names)


def test_there_are_three() -> None:
    assert len(NOTEBOOKS) == 3
