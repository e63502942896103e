"""What does a training step cost with PReLU instead of ReLU?

Forward pass, loss, backward pass and SGD with momentum, on a batch of 3 x 32 x 32 images in float32, for ResNet-20 and
a plain CNN of six convolutions, both with BatchNorm. ReLU is in place; all slopes are one per channel. The floor is
the same network with its convolutions alone: no BatchNorm, no activation, no shortcut.

    python benchmarks/networks.py                                      # everything: a quarter of an hour on two cores
    python benchmarks/networks.py --networks resnet20 --layouts channels_last --no-compile
"""

from __future__ import annotations

from _harness import compare, parser

from slopewise.bench import LAYOUTS, NETWORKS, network_jobs
from slopewise.bench._networks import BATCH, COMPILED_VARIANTS


def main() -> None:
    arguments = parser(__doc__, rounds=20)
    arguments.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    arguments.add_argument("--layouts", nargs="+", choices=LAYOUTS, default=list(LAYOUTS))
    arguments.add_argument("--batch", type=int, default=BATCH, help=f"images in a step (default {BATCH})")
    arguments.add_argument("--width", type=int, default=16, help="channels of the first stage (default 16)")
    arguments.add_argument("--no-compile", dest="compiled", action="store_false", help="leave out torch.compile")
    options = arguments.parse_args()
    jobs = network_jobs(
        networks=options.networks,
        layouts=options.layouts,
        compiled=COMPILED_VARIANTS if options.compiled else (),
        batch=options.batch,
        width=options.width,
        rounds=options.rounds,
    )
    compare("networks", jobs, options)


if __name__ == "__main__":
    main()
