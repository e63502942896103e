"""Cost of a training step with PReLU instead of ReLU.

Forward pass, loss, backward pass and SGD with momentum, in float32; all slopes are one per channel.

resnet20 and cnn: ResNet-20 and a plain CNN of six convolutions, both with BatchNorm, on a batch of 3 x 32 x 32 images.
ReLU is in place. The floor is the same network with its convolutions alone: no BatchNorm, no activation, no shortcut.

transformers-resnet18 and monai-resnet18: a ResNet-18 of each library, the first on 3 x 64 x 64 images, the second on
volumes of 32 x 32 x 32, as it is and as slopewise.convert makes it: with stock PReLUs, with slopewise's, fused, and
fused with low memory. Eager alone. A network whose library is not installed is left out.

Each case is measured twice, first with freed memory returned to the system, as the C library does by default, and then
with memory kept (slopewise.machine.keep_memory), and with each the page faults in a step are counted.

    python benchmarks/networks.py                                      # everything: an hour on two cores
    python benchmarks/networks.py --networks resnet20 --layouts channels_last --no-compile
"""

from __future__ import annotations

import sys

from _harness import compare, parser

from slopewise.bench import CONVERTED, LAYOUTS, NETWORKS, converted_jobs, network_jobs, with_memory_kept
from slopewise.bench._converted import WIDTH as CONVERTED_WIDTH
from slopewise.bench._networks import BATCH, COMPILED_VARIANTS, WIDTH

MEMORY = ["returned", "kept"]


def main() -> None:
    arguments = parser(__doc__, rounds=20)
    known = [*NETWORKS, *CONVERTED]
    batches = ", ".join(f"of {name} {network.batch}" for name, network in CONVERTED.items())
    arguments.add_argument("--networks", nargs="+", choices=known, default=known)
    arguments.add_argument("--layouts", nargs="+", choices=LAYOUTS, default=list(LAYOUTS))
    arguments.add_argument("--batch", type=int, help=f"images in a step (default {BATCH}, {batches})")
    arguments.add_argument(
        "--width",
        type=int,
        help=f"channels of the first stage (default {WIDTH}, of the libraries' networks {CONVERTED_WIDTH})",
    )
    arguments.add_argument("--no-compile", dest="compiled", action="store_false", help="leave out torch.compile")
    arguments.add_argument(
        "--memory", nargs="+", choices=MEMORY, default=MEMORY, help="what happens to freed memory (default both)"
    )
    options = arguments.parse_args()
    missing = {
        name: CONVERTED[name].library
        for name in options.networks
        if name in CONVERTED and not CONVERTED[name].installed
    }
    for name, library in missing.items():
        print(f"{name} is left out: {library} is not installed (pip install {library})", file=sys.stderr)
    options.networks = [name for name in options.networks if name not in missing]
    if not options.networks:
        arguments.error("no network is left to measure")
    jobs = [
        *network_jobs(
            networks=[name for name in options.networks if name in NETWORKS],
            layouts=options.layouts,
            compiled=COMPILED_VARIANTS if options.compiled else (),
            batch=options.batch or BATCH,
            width=options.width or WIDTH,
            rounds=options.rounds,
        ),
        *converted_jobs(
            networks=[name for name in options.networks if name in CONVERTED],
            layouts=options.layouts,
            batch=options.batch,
            width=options.width or CONVERTED_WIDTH,
            rounds=options.rounds,
        ),
    ]
    returned = jobs if "returned" in options.memory else []
    compare("networks", [*returned, *(with_memory_kept(jobs) if "kept" in options.memory else [])], options)


if __name__ == "__main__":
    main()
