"""Worker processes of Ray as forks of one process that has loaded what they need.

    python warm_workers.py                        serve requests at the socket that the variable names, until stdin ends
    python warm_workers.py default_worker.py ...  ask for one fork; Ray calls it so, in place of its `setup_worker.py`

Ray's own way imports Ray twice and PyTorch once for each process: ten seconds for a trial of a tenth. A fork is a
process of its own as well, with its own arguments, variables, folder and streams. Workers that get a copy of the
driver's folder are started in Ray's own way: that a new interpreter imports all that a trial needs is seen there.
"""

from __future__ import annotations

import gc
import json
import os
import pkgutil
import runpy
import select
import signal
import socket
import sys
from pathlib import Path

SOCKET = "SLOPEWISE_TEST_WARM_WORKERS"
_CONTEXT = "--serialized-runtime-env-context="
_REQUEST = 2**20  # bytes at most


def serve(path: str) -> dict[str, object]:
    """Fork for each request until stdin ends; in a fork, return the request that it is for."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(path)
        listener.listen()
        os.write(1, b"ready\n")
        load()
        gc.freeze()
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # so that forks leave nothing to wait for
        while select.select([listener, 0], [], [])[0] == [listener]:
            with listener.accept()[0] as client:
                message, streams, *_ = socket.recv_fds(client, _REQUEST, 3)
            child = not os.fork()
            for number, stream in enumerate(streams):
                if child:
                    os.dup2(stream, number)
                os.close(stream)
            if child:
                return json.loads(message)
    sys.exit()


def load() -> None:
    """Import what a trial needs; not Ray, which reads variables of its worker when it is imported."""
    for name in ("torch._dynamo", "slopewise.study:run_trial", "slopewise.study.engines:attempt"):
        pkgutil.resolve_name(name)


def become(request: dict[str, object]) -> None:
    """Run a script as Python does, to the end of this process."""
    os.setpgid(0, 0)  # Ray ends the whole group of a worker process
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    sys.argv = request["arguments"]
    sys.path[0] = str(Path(sys.argv[0]).parent)
    runpy.run_path(sys.argv[0], run_name="__main__")


def ask(arguments: list[str]) -> None:
    """Ask for a fork, or become a worker process in Ray's own way."""
    (given,) = [word.removeprefix(_CONTEXT) for word in arguments if word.startswith(_CONTEXT)] or [""]
    context = json.loads(given or "{}")
    if context.get("command_prefix") or context.get("py_executable", sys.executable) != sys.executable:
        from ray._private.workers import setup_worker

        os.execv(sys.executable, [sys.executable, setup_worker.__file__, *arguments])
    words = [word for word in arguments if not word.startswith((_CONTEXT, "--language="))]
    environment = {**os.environ, **context.get("env_vars", {})}
    request = {"arguments": words, "environment": environment, "folder": str(Path.cwd())}
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server:
        server.connect(os.environ[SOCKET])
        socket.send_fds(server, [json.dumps(request).encode()], [0, 1, 2])


if __name__ == "__main__":
    if sys.argv[1:]:
        ask(sys.argv[1:])
    else:
        become(serve(os.environ[SOCKET]))
