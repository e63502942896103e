#!/usr/bin/env bash
# Versions:   lightning-fabric 2.6.6, torch 2.13.0, numpy 2.4.6
# Guess:      `Fabric(strategy="ddp_spawn").launch(function)` returns what the function returned in rank 0, as its
#             documentation says, however large that is.
# Behaviour:  The parent joins the ranks before it reads the queue that rank 0 puts its result into. That queue is a
#             pipe. A result whose pickle does not fit into the pipe's buffer, 64 KiB on Linux, blocks rank 0 in `put`
#             and the parent in `join`, for ever: no error, no use of the processor, and after the whole training.
# Output:     (bytes returned; where rank 0 and its parent are, long after the function has ended)
#             60000    returned, status 0
#             70000    rank 0 in put, its parent in join
# For users:  Whoever trains with Fabric's spawn launcher and returns a history, predictions or weights as bytes: short
#             trainings return, longer ones hang at their end. (Tensors go through shared memory and do not count.)
#             slopewise starts the processes of a trial on several devices itself (study/_trial/_ranks.py).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q lightning-fabric==2.6.6 torch==2.13.0 numpy==2.4.6
cd "$folder"
cat > check.py <<'PYTHON'
import faulthandler
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

from lightning_fabric import Fabric


def work(fabric, size):
    if fabric.global_rank == 0:
        faulthandler.register(signal.SIGUSR1, open("rank.txt", "w"))
        Path("pid").write_text(str(os.getpid()))
        Path("ended").touch()
    return b"x" * size


def launch(size):
    faulthandler.register(signal.SIGUSR1, open("parent.txt", "w"))
    fabric = Fabric(accelerator="cpu", devices=2, strategy="ddp_spawn")
    assert len(fabric.launch(partial(work, size=size))) == size
    os._exit(0)


def functions(path):
    """Names of the functions on a stack that faulthandler has written, innermost first."""
    return [line.split()[-1] for line in Path(path).read_text().splitlines() if line.startswith("  File")]


def outcome(size):
    Path("ended").unlink(missing_ok=True)
    process = subprocess.Popen([sys.executable, __file__, str(size)], stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        while not Path("ended").exists():
            assert process.poll() is None
            time.sleep(0.1)
        try:
            return f"returned, status {process.wait(30)}"  # a process that returns does so in a second or two
        except subprocess.TimeoutExpired:
            os.kill(int(Path("pid").read_text()), signal.SIGUSR1)
            process.send_signal(signal.SIGUSR1)
            time.sleep(2)
            rank, parent = functions("rank.txt"), functions("parent.txt")
            return f"rank 0 {'in put' if 'put' in rank else rank}, its parent {'in join' if 'join' in parent else parent}"
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        launch(int(sys.argv[1]))
    results = {size: outcome(size) for size in (60_000, 70_000)}
    for size, result in results.items():
        print(f"{size:<8} {result}")
    assert results == {60_000: "returned, status 0", 70_000: "rank 0 in put, its parent in join"}
    print("the finding holds")
PYTHON
"$folder/venv/bin/python" check.py 2> err.txt || { cat err.txt; exit 1; }
