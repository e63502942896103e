"""A Ray cluster of several nodes on this machine; prints its address, and does what the lines of stdin say.

`add CPUS NAME` adds a node, `remove NAME` kills it. Each answer is one line. The cluster ends with stdin.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

if __package__:  # collected as one of the tests
    from .warm_workers import SOCKET
else:
    from warm_workers import SOCKET

WARM = Path(__file__).with_name("warm_workers.py")
SMALL = {"include_dashboard": False, "object_store_memory": 80 * 2**20, "setup_worker_path": str(WARM)}


@contextmanager
def warm_workers() -> Iterator[None]:
    """Start the process that the nodes' worker processes are forks of."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ[SOCKET] = f"{folder}/socket"
        server = subprocess.Popen([sys.executable, WARM], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert server.stdout.readline() == b"ready\n"
        yield
        server.communicate()


def serve(answers: TextIO) -> None:
    """Run the cluster until stdin ends."""
    from ray.cluster_utils import Cluster

    logging.disable(logging.WARNING)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, **SMALL})
    nodes = {}
    print(cluster.address, file=answers, flush=True)
    for line in sys.stdin:
        verb, *words = line.split()
        if verb == "add":
            nodes[words[1]] = cluster.add_node(num_cpus=int(words[0]), **SMALL)
        elif verb == "remove":
            cluster.remove_node(nodes.pop(words[0]), allow_graceful=False)
        print("done", file=answers, flush=True)
    cluster.shutdown()


if __name__ == "__main__":
    output = os.dup(1)
    os.dup2(2, 1)  # Ray prints, too
    with warm_workers():
        serve(os.fdopen(output, "w"))
