"""The short form of the three benchmarks, and its answers in words: one line per question."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from slopewise.bench._functions import BN_FUSED_LOW_MEMORY, BN_PRELU, COPY, F_PRELU, OUR_PRELU
from slopewise.bench._kernels import kernel_jobs
from slopewise.bench._measurement import Job, Measurement
from slopewise.bench._memory import PEAK, SAVED, memory_jobs
from slopewise.bench._models import CONVOLUTIONS, FUSED, FUSED_LOW_MEMORY, PRELU
from slopewise.bench._networks import network_jobs

_LAYOUTS = ("channels_last", "contiguous")  # the faster one on CPUs first: the answers lead with it


def short_jobs(*, quick: bool = False) -> list[Job]:
    """Return the jobs of `slopewise bench`: under two minutes on two cores, and therefore without torch.compile.

    Args:
        quick: If True, networks and tensors are tiny and the jobs take seconds: a test that everything runs, whose
            figures mean nothing.
    """
    width, batch, rounds = (4, 8, 2) if quick else (16, 128, 15)
    return [
        *network_jobs(
            networks=["resnet20"],
            layouts=_LAYOUTS,
            compiled=(),
            width=width,
            batch=batch,
            rounds=rounds,
            budget=25,
        ),
        *kernel_jobs(
            sizes=[(batch, width, 32, 32)],
            layouts=_LAYOUTS,
            dtypes=["float32"],
            slopes=["per channel"],
            residuals=["no residual"],
            passes=["both"],
            compiled=False,
            rounds=rounds,
        ),
        *memory_jobs(networks=["resnet20"], layouts=_LAYOUTS[:1], width=width, batch=batch, rounds=1),
    ]


@dataclass(frozen=True, slots=True)
class _Answer:
    """The form of one question's answer: the sentence, the candidate whose ratio it states, and those added to it."""

    question: str
    sentence: str
    where: str
    ours: str
    beside: Mapping[str, str]


_STEP = {"stock PReLU": PRELU, "convolutions alone": CONVOLUTIONS}
_PASSES = "forward and backward"
_ANSWERS = (
    _Answer("training step", "PReLU costs {} of ReLU here", "training step, fused", FUSED_LOW_MEMORY, _STEP),
    _Answer(
        "prelu", "PReLU alone costs {} of ReLU", _PASSES, OUR_PRELU, {"stock PReLU": F_PRELU, "copying the bytes": COPY}
    ),
    _Answer(
        "batch_norm_prelu",
        "BatchNorm+PReLU, fused, costs {} of BatchNorm+ReLU",
        _PASSES,
        BN_FUSED_LOW_MEMORY,
        {"stock BatchNorm+PReLU": BN_PRELU, "copying the bytes": COPY},
    ),
    _Answer(
        SAVED,
        "PReLU, fused, keeps {} of the bytes that ReLU keeps for backward",
        "training step",
        FUSED_LOW_MEMORY,
        {"stock PReLU": PRELU, "with low_memory=False": FUSED},
    ),
    _Answer(
        PEAK,
        "PReLU, fused, lifts the process's memory by {} of what ReLU does",
        "training step",
        FUSED_LOW_MEMORY,
        {"stock PReLU": PRELU, "with low_memory=False": FUSED},
    ),
)


def answers(measurements: Iterable[Measurement]) -> list[str]:
    """Return one sentence for each question that was measured, from the figures alone.

    Example:
        >>> pair = {"BatchNorm+ReLU(inplace)": (2.0,), "BatchNorm+PReLU": (5.0,)}
        >>> pair |= {"slopewise fused low_memory": (0.9,), "copy": (0.5,)}
        >>> case = {"size": "128x16x32x32", "layout": "channels_last"}
        >>> print(*answers([Measurement("batch_norm_prelu", case, pair, "s")]))  # doctest: +NORMALIZE_WHITESPACE
        BatchNorm+PReLU, fused, costs 0.45 of BatchNorm+ReLU (forward and backward, 128x16x32x32, channels_last);
        stock BatchNorm+PReLU 2.50, copying the bytes 0.25.
    """
    by_question: dict[str, list[Measurement]] = {}
    for measurement in measurements:
        by_question.setdefault(measurement.question, []).append(measurement)
    return [_line(answer, *by_question[answer.question]) for answer in _ANSWERS if answer.question in by_question]


def _line(answer: _Answer, first: Measurement, *others: Measurement) -> str:
    where = ", ".join((answer.where, *(word for key, word in first.case.items() if key != "pass")))
    elsewhere = "".join(f"; {other.case['layout']}: {_times(other, answer.ours)}" for other in others)
    beside = ", ".join(f"{words} {_times(first, name)}" for words, name in answer.beside.items())
    return f"{answer.sentence.format(_times(first, answer.ours))} ({where}{elsewhere}); {beside}."


def _times(measurement: Measurement, name: str) -> str:
    return f"{measurement.ratio(name).median:.2f}"
