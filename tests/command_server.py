"""A process that has loaded what `slopewise` loads, and forks into the command as often as it is asked.

Each fork is a process of its own, with its arguments, folder, environment, streams, modules and exit status. Only the
seconds in which PyTorch is imported are spent once. A request is one line of JSON on stdin; its answer is the exit
status, one line on stdout.
"""

from __future__ import annotations

import gc
import json
import os
import runpy
import sys
from pathlib import Path

from slopewise.study import _operator_cost

if __package__:  # collected as one of the tests
    from .warm_spawn import load, warm_spawn
else:
    from warm_spawn import load, warm_spawn


def become(request: dict[str, object]) -> None:
    """Run the command as `python -m slopewise` does, to the end of this process."""
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    for number, name in enumerate((os.devnull, request["stdout"], request["stderr"])):
        stream = os.open(name, os.O_WRONLY if number else os.O_RDONLY)
        os.dup2(stream, number)
        os.close(stream)
    # As Python opens them for what they are now: what was read ahead is the server's, and a terminal has no place.
    sys.stdin, sys.stdout = open(0, closefd=False), open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    sys.argv[1:] = request["arguments"]
    sys.path[0] = str(Path.cwd())
    with warm_spawn():
        runpy.run_module("slopewise", run_name="__main__", alter_sys=True)


def serve() -> dict[str, object]:
    """Answer requests until stdin ends; in a fork, return the request that it is for."""
    while line := sys.stdin.readline():
        if not (child := os.fork()):
            return json.loads(line)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)  # noqa: T201
    sys.exit()


if __name__ == "__main__":
    load()
    _operator_cost._ROUNDS, _operator_cost._TURN = 3, 0.001  # as in conftest.py
    gc.freeze()  # a fork's end would visit all that was loaded, which costs more than its command
    become(serve())
