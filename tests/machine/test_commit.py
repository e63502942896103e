"""Commits of the code, by git itself."""

import os
import subprocess
from pathlib import Path

import pytest

from slopewise.machine import code_commits


def test_a_folder_that_git_does_not_track_has_no_commit_and_untracked_files_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def git(*words: str) -> None:
        who = {f"GIT_{role}_{what}": "a@b.c" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        subprocess.run(["git", "-C", tmp_path, *words], check=True, capture_output=True, env=os.environ | who)

    git("init")
    (tmp_path / "net.py").touch()
    git("add", ".")
    git("commit", "-m", "first")
    inside = tmp_path / "quickstart"
    inside.mkdir()
    monkeypatch.chdir(inside)
    (inside / "mynet.py").touch()
    assert "project" not in code_commits()
    monkeypatch.chdir(tmp_path)
    assert code_commits()["project"].endswith("-untracked")
    (inside / "mynet.py").unlink()
    assert code_commits()["project"].isalnum()
