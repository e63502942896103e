"""Commit of the code in a folder."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path

import slopewise

_PATIENCE = 10.0  # seconds that git may take: a very large repository is not waited for


def code_commits() -> dict[str, str]:
    """Return the commits of the code that this process runs, as far as git knows them.

    Returns:
        Abbreviated commits, with "-dirty" if there are changes beyond it: of "slopewise", if the package is a checkout,
        and of the "project" in the working directory, where the code of a study's own functions usually is. The
        latter has "-untracked" if Python files below that directory are not in the repository, and no commit is given
        for a directory of which nothing is.
    """
    package = Path(slopewise.__file__).parent
    own = _commit(package) if _git(package, "ls-files", "--error-unmatch", "__init__.py") else ""
    here = Path.cwd()
    project = "" if own and _git(here, "rev-parse", "--show-toplevel") == _top(package) else _project(here)
    return {name: commit for name, commit in (("slopewise", own), ("project", project)) if commit}


@cache
def _top(folder: Path) -> str:
    return _git(folder, "rev-parse", "--show-toplevel")


def _project(folder: Path) -> str:
    if not _git(folder, "ls-files", "--", "."):  # a folder of its own inside somebody's clone
        return ""
    untracked = _git(folder, "ls-files", "--others", "--exclude-standard", "--", "*.py")
    return (commit := _commit(folder)) + ("-untracked" if commit and untracked else "")


@cache
def _commit(folder: Path) -> str:
    return _git(folder, "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*")


def _git(folder: Path, *arguments: str) -> str:
    """Return what git prints; empty if there is no git, no repository, or no answer in time."""
    command = ["git", "-c", "core.fsmonitor=false", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return "" if done.returncode else done.stdout.strip()
