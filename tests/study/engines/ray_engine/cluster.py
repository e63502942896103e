"""A Ray cluster of several nodes on this machine; prints its address, and does what the lines of stdin say.

`add CPUS NAME` adds a node, `remove NAME` kills it. Each answer is one line. The cluster ends with stdin.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import TextIO

SMALL = {"include_dashboard": False, "object_store_memory": 80 * 2**20}


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
    serve(os.fdopen(output, "w"))
