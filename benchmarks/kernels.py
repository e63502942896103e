"""Cost of one PReLU, alone and behind a BatchNorm.

Alone: slopewise's against F.relu, F.prelu, what torch.compile makes of F.prelu, and a copy of the same bytes, which is
the floor that memory sets (forward: read one tensor, write one; backward: read two, write one; into memory that is
there already). Behind a BatchNorm in training: the fused layer against the eager pairs, the compiled one and the same
floor, without and with a residual. Forward, backward, and both.

    python benchmarks/kernels.py                                          # everything: twenty minutes on two cores
    python benchmarks/kernels.py --sizes 64x64x32x32 --dtypes float32     # some of it
    python benchmarks/kernels.py --no-compile
"""

from __future__ import annotations

from _harness import compare, parser

from slopewise.bench import DTYPES, LAYOUTS, SIZES, kernel_jobs
from slopewise.bench._kernels import PASSES, RESIDUALS, SLOPES
from slopewise.machine import keep_memory


def size(text: str) -> tuple[int, ...]:
    numbers = tuple(map(int, text.split("x")))
    if len(numbers) != 4 or min(numbers) < 1:
        raise ValueError(text)  # argparse says which argument
    return numbers


def main() -> None:
    arguments = parser(__doc__, rounds=15)
    arguments.add_argument("--sizes", type=size, nargs="+", default=SIZES, metavar="NxCxHxW")
    arguments.add_argument("--layouts", nargs="+", choices=LAYOUTS, default=list(LAYOUTS))
    arguments.add_argument("--dtypes", nargs="+", choices=DTYPES, default=list(DTYPES))
    arguments.add_argument("--slopes", nargs="+", choices=SLOPES, default=list(SLOPES))
    arguments.add_argument("--residuals", nargs="+", choices=RESIDUALS, default=list(RESIDUALS))
    arguments.add_argument("--passes", nargs="+", choices=PASSES, default=list(PASSES))
    arguments.add_argument("--no-compile", dest="compiled", action="store_false", help="leave out torch.compile")
    options = arguments.parse_args()
    keep_memory()  # a new tensor's page faults would cost more than the loops
    jobs = kernel_jobs(
        sizes=options.sizes,
        layouts=options.layouts,
        dtypes=options.dtypes,
        slopes=options.slopes,
        residuals=options.residuals,
        passes=options.passes,
        compiled=options.compiled,
        rounds=options.rounds,
    )
    compare("kernels", jobs, options)


if __name__ == "__main__":
    main()
