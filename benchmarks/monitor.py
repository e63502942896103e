"""Cost of watching training.

ResNet-20 on a batch of 3 x 32 x 32 images: forward pass, loss, backward pass and SGD with momentum, in float32, with no
monitor, with slopewise.Monitor sampling every step and one in fifty, between two samples of it, and with hooks written
by hand: those that record statistics of every layer's output, and naive ones that collect what the monitor does.

    python benchmarks/monitor.py                                          # everything: half an hour on two cores
    python benchmarks/monitor.py --variants ReLU --layouts contiguous --rounds 10
"""

from __future__ import annotations

from _harness import compare, parser

from slopewise.bench import LAYOUTS, WATCHED, watching_jobs
from slopewise.bench._networks import BATCH, WIDTH


def main() -> None:
    arguments = parser(__doc__, rounds=20)
    arguments.add_argument("--variants", nargs="+", choices=WATCHED, default=list(WATCHED))
    arguments.add_argument("--layouts", nargs="+", choices=LAYOUTS, default=["contiguous"])
    arguments.add_argument("--batch", type=int, default=BATCH, help=f"images in a step (default {BATCH})")
    arguments.add_argument("--width", type=int, default=WIDTH, help=f"channels of the first stage (default {WIDTH})")
    options = arguments.parse_args()
    jobs = watching_jobs(
        variants=options.variants,
        layouts=options.layouts,
        batch=options.batch,
        width=options.width,
        rounds=options.rounds,
    )
    compare("monitor", jobs, options)


if __name__ == "__main__":
    main()
