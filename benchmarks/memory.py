"""Memory that a training step keeps with PReLU instead of ReLU.

Two figures a network. Bytes saved for backward: the storages of all tensors that autograd saves in one forward pass
and loss, each counted once and whole, parameters and buffers excluded. Peak resident memory: in a fresh process that
has made two steps on two images, how far one step on the whole batch lifts the kernel's high-water mark (VmHWM) over
the resident level before it (VmRSS); gradients and workspaces of that step count as well. Linux alone.

    python benchmarks/memory.py    # two or three minutes on two cores
"""

from __future__ import annotations

from _harness import compare, parser

from slopewise.bench import LAYOUTS, NETWORKS, memory_jobs
from slopewise.bench._networks import BATCH


def main() -> None:
    arguments = parser(__doc__, rounds=3)
    arguments.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    arguments.add_argument("--layouts", nargs="+", choices=LAYOUTS, default=list(LAYOUTS))
    arguments.add_argument("--batch", type=int, default=BATCH, help=f"images in a step (default {BATCH})")
    arguments.add_argument("--width", type=int, default=16, help="channels of the first stage (default 16)")
    options = arguments.parse_args()
    jobs = memory_jobs(
        networks=options.networks,
        layouts=options.layouts,
        batch=options.batch,
        width=options.width,
        rounds=options.rounds,
    )
    compare("memory", jobs, options)


if __name__ == "__main__":
    main()
