"""The contract of the rooms is kept, and breaks where an import is planted against it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytest.importorskip("importlinter")


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    """The package's sources and the contract, to plant imports in."""
    folder = tmp_path_factory.mktemp("copy")
    ignored = shutil.ignore_patterns("__pycache__", "*.so")
    for name in ("src", "tools"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    code = "import sys; sys.path[:0] = ['src', '.']; from importlinter import cli; cli.lint_imports_command()"
    command = [sys.executable, "-c", code, "--no-logo", "--no-cache"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_the_contract_is_kept(copy: Path) -> None:
    ended = lint(copy)
    assert ended.returncode == 0, ended.stdout


@pytest.mark.parametrize(
    ("module", "planted", "message"),
    [
        (
            "nn/functional.py",
            "from slopewise.convert import convert",
            "nn is not allowed to import slopewise.convert",
        ),
        ("analysis/_power.py", "def f():\n    import torch", "analysis is not allowed to import torch"),
        (
            "study/_spec.py",
            "from slopewise.nn._prelu import PReLU",
            "study._spec imports slopewise.nn._prelu",
        ),
    ],
    ids=["a higher room", "torch", "a private module"],
)
def test_a_planted_import_breaks_it(copy: Path, module: str, planted: str, message: str) -> None:
    path = copy / "src" / "slopewise" / module
    before = path.read_text()
    path.write_text(f"{before}\n\n{planted}\n")
    try:
        ended = lint(copy)
    finally:
        path.write_text(before)
    assert ended.returncode == 1
    assert message in " ".join(ended.stdout.split())


def test_the_table_of_rooms_is_that_of_the_contract() -> None:
    ended = subprocess.run(
        [sys.executable, ROOT / "tools" / "rooms.py", "--check"], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
