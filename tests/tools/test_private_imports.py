"""Tests use the private modules that are listed, in the folder of their room; any other use is found."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def check(*folders: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "tools" / "private_imports.py"), *map(str, folders)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_tests_keep_the_rule() -> None:
    ended = check()
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize(
    ("folder", "line", "message"),
    [
        ("nn", "from slopewise.nn._prelu import PReLU", "slopewise.nn._prelu is private: import what its room exports"),
        ("nn", "from slopewise.nn import _prelu", "slopewise.nn._prelu is private: import what its room exports"),
        ("nn", "import slopewise.nn._prelu as p", "slopewise.nn._prelu is private: import what its room exports"),
        ("nn", 'patch = "slopewise.nn._prelu.F"', "slopewise.nn._prelu is private: import what its room exports"),
        ("nn", "from slopewise.live._tail import Tail", "slopewise.live._tail is private to another room"),
        (".", "from slopewise.nn._prelu import PReLU", "slopewise.nn._prelu is private: import what its room exports"),
    ],
    ids=["a module's name", "a module", "a module renamed", "a text", "another room", "the top folder"],
)
def test_a_planted_use_is_found(folder: str, line: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / folder / "test_planted.py"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"import slopewise\n\n{line}\n")
    ended = check(tmp_path)
    assert ended.returncode == 1
    assert f"test_planted.py:3: {message}" in ended.stderr


def test_public_and_listed_uses_pass(tmp_path: Path) -> None:
    (tmp_path / "live").mkdir()
    lines = ["from slopewise.live import Loop", "from slopewise.live._tail import Tail", "import slopewise.__main__"]
    (tmp_path / "live" / "test_tail.py").write_text("\n".join(lines))
    ended = check(tmp_path)
    assert (ended.returncode, ended.stderr) == (0, "")
