"""Private modules that tests may use, each with the reason; all else they import as users do.

python tools/private_imports.py            # fails if tests use one that is not listed, or list one that they do not use
python tools/private_imports.py FOLDER     # the same for other tests, which need not use every module of the list
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
HERE = "tools/private_imports.py"

_FAULT = "a fault is put in its place, to see that it is found"
_CLOCK = "its times and limits are set, so that no test waits or fills a disk"
_PROCESS = "processes are started, stopped and killed at moments that no study offers"
_FILES = "its rules have more cases than whole folders of images could be written for"
_LAW = "it has a closed form or a law of its own, finer than what its callers show"

# A module stands for those below it, too. Only tests of its room may use it, and the conftest.py of all.
UNITS = {
    "slopewise.analysis._power": _LAW,
    "slopewise.analysis._sequential": _LAW,
    "slopewise.bench._converted": "what is timed must be what its name says",
    "slopewise.bench._functions": "what is timed must be what its name says",
    "slopewise.bench._machine": "caches are read from a folder like Linux's",
    "slopewise.bench._memory": _LAW,
    "slopewise.bench._networks": "what is timed must be what its name says",
    "slopewise.checkpoint._search": _CLOCK,
    "slopewise.convert._convert": _FAULT,
    "slopewise.convert._install": _FAULT,
    "slopewise.export._slopes": "no runtime on a CPU runs bfloat16: the graph is compared instead of outputs",
    "slopewise.init._expectation": _LAW,
    "slopewise.live._folder": _CLOCK,
    "slopewise.live._server": "a server that all machines reach is not started for a test",
    "slopewise.live._tail": "a file may be cut or replaced between any two reads",
    "slopewise.live._watched": _CLOCK,
    "slopewise.monitor.sinks._wandb": _CLOCK,
    "slopewise.ops._batch_norm_prelu": "the kernels' calls are counted",
    "slopewise.ops._loading": "kernels that are missing, broken or of another build are put in their place",
    "slopewise.ops._prelu": "the kernels' calls are counted",
    "slopewise.study.data._npz": _CLOCK,
    "slopewise.study._cells": "settings go to keys and back, without training",
    "slopewise.study._operator_cost": _CLOCK,
    "slopewise.study._network": "references are built from the parts of a trial",
    "slopewise.study._origin": "processes of other machines and boots are made up",
    "slopewise.study._plan": "plans are made of records made by hand, without training",
    "slopewise.study._preflight": "the checks get data made by hand",
    "slopewise.study._running": _PROCESS,
    "slopewise.study._store": "stores that are damaged, locked or of earlier versions are made",
    "slopewise.study._stages": "trials that failed are made by hand",
    "slopewise.study._streams": "references draw the numbers that a trial draws",
    "slopewise.study._training_part": "parts are drawn for many sizes and seeds, without training",
    "slopewise.study._trial": "references are built from the parts of a trial",
    "slopewise.study._optimizer": "references are built from the parts of a trial",
    "slopewise.study.data._checks": _FILES,
    "slopewise.study.data._classes": _FILES,
    "slopewise.study.data._discover": _FILES,
    "slopewise.study.data._fashion_mnist": "its files are put into folders of the test",
    "slopewise.study.data._parts": _FILES,
    "slopewise.study.data._picture": _FILES,
    "slopewise.study.data._prepare": _FILES,
    "slopewise.study.data._stored": _CLOCK,
    "slopewise.study.engines._drive": _CLOCK,
    "slopewise.study.engines._job_control": _PROCESS,
    "slopewise.study.engines._local": _PROCESS,
    "slopewise.study.engines._process": _PROCESS,
    "slopewise.study.engines._ray": "errors and nodes are made up that no cluster shows on demand",
    "slopewise.study.engines._state": "each setting of the process is changed by itself, without training",
    "slopewise.support._once": "warnings that come once per process are given once per test",
}
_ROOMS = {"alarms": "recording"}  # the room that a folder of tests is about, where it has another name
_PLANTED = {"tools"}  # tests in this folder plant such imports
_PRIVATE = re.compile(r"\bslopewise(?:\.[a-z]\w*)*\._[a-z]\w*")


def private_modules(source: str) -> Iterator[tuple[int, str]]:
    """Yield the line and name of each private module that a test imports, or names in a text, as for a monkeypatch."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and not node.level:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names = [node.value]
        else:
            continue
        for name in dict.fromkeys(match for text in names for match in _PRIVATE.findall(text)):
            yield node.lineno, name


def check(folder: Path) -> tuple[list[str], set[str]]:
    """Return a message for each forbidden use in a folder of tests, and the listed modules that are used."""
    messages, used = [], set()
    for path in sorted(folder.rglob("*.py")):
        *inner, _ = path.relative_to(folder).parts
        room = _ROOMS.get(inner[0], inner[0]) if inner else ""
        if room in _PLANTED:
            continue
        for line, name in private_modules(path.read_text(encoding="utf-8")):
            place = f"{path}:{line}: {name} is private"
            if name not in UNITS:
                messages.append(f"{place}: import what its room exports, or list it with the reason in {HERE}")
            elif room not in {"", name.split(".")[1]}:
                messages.append(f"{place} to another room: import what its room exports")
            else:
                used.add(name)
    return messages, used


def main() -> None:
    """Check the tests."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "tests"
    messages, used = check(folder)
    if len(sys.argv) == 1:
        messages += [f"{HERE}: no test uses {name} any more" for name in sorted(UNITS.keys() - used)]
    if messages:
        raise SystemExit("\n".join(messages))


if __name__ == "__main__":
    main()
