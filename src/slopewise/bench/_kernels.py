"""Benchmark of one activation, alone and after a BatchNorm: forward, backward, and both, over shapes and dtypes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import product

from slopewise.bench._functions import DTYPES, LAYOUTS, ByPass, Size, batch_norm_candidates, prelu_candidates
from slopewise.bench._measurement import Job, Measurement
from slopewise.timing import interleaved

_OF_RESNET20: tuple[Size, ...] = ((128, 16, 32, 32), (128, 32, 16, 16), (128, 64, 8, 8))
SIZES: tuple[Size, ...] = ((8, 8, 8, 8), (64, 16, 8, 8), (32, 256, 14, 14), (64, 64, 32, 32), *_OF_RESNET20)
SLOPES = ("shared", "per channel")
RESIDUALS = ("no residual", "residual added")
_Make = Callable[..., dict[str, ByPass]]
PASSES = ("forward", "backward", "both")


def kernel_jobs(
    *,
    sizes: Iterable[Size] = SIZES,
    layouts: Iterable[str] = tuple(LAYOUTS),
    dtypes: Iterable[str] = tuple(DTYPES),
    slopes: Iterable[str] = SLOPES,
    residuals: Iterable[str] = RESIDUALS,
    passes: Sequence[str] = PASSES,
    compiled: bool = True,
    rounds: int = 15,
) -> list[Job]:
    """Return a job for each combination of the arguments: PReLU alone, then BatchNorm and PReLU (a slope per channel).

    Args:
        sizes: Sizes of the input, (N, C, H, W).
        layouts: Layouts of the input: "contiguous", "channels_last".
        dtypes: Dtypes of the input: "float32", "bfloat16".
        slopes: Kinds of slopes for PReLU alone: "shared", "per channel".
        residuals: Cases of BatchNorm and PReLU: "no residual", or "residual added" between the two.
        passes: Passes to time: "forward", "backward", "both".
        compiled: If True, PyTorch's functions are also timed under torch.compile, which takes seconds per case.
        rounds: Number of timed rounds.

    Example:
        >>> jobs = kernel_jobs(sizes=[(2, 3, 4, 4)], dtypes=["float32"], slopes=["shared"], residuals=[])
        >>> [words for words, _ in jobs]
        ['prelu 2x3x4x4 contiguous float32 shared', 'prelu 2x3x4x4 channels_last float32 shared']
    """
    tensors = list(product(sizes, layouts, dtypes))
    variants: list[tuple[str, str, str, _Make]] = [("prelu", "slopes", name, prelu_candidates) for name in slopes]
    variants += [("batch_norm_prelu", "residual", name, batch_norm_candidates) for name in residuals]
    jobs: list[Job] = []
    for (question, key, variant, make), (size, layout, dtype) in product(variants, tensors):
        case = {"size": "x".join(map(str, size)), "layout": layout, "dtype": dtype, key: variant}
        candidates = partial(make, size, layout, dtype, variant, compiled=compiled)
        words = " ".join((question, *case.values()))
        jobs.append((words, partial(_measure, question, case, candidates, passes, rounds)))
    return jobs


def _measure(
    question: str, case: dict[str, str], make: Callable[[], dict[str, ByPass]], passes: Sequence[str], rounds: int
) -> list[Measurement]:
    candidates = make()
    timed = {name: interleaved({who: c[name] for who, c in candidates.items()}, rounds=rounds) for name in passes}
    return [Measurement(question, {**case, "pass": name}, seconds, "s") for name, seconds in timed.items()]
