"""Verdicts of the whole pipeline on real trainings, without an effect and with a planted effect.

A/A: the arms are twins of ReLU, whose output is scaled by at most 1 ± 4e-5. Training amplifies
that, so that twins end with other scores, but no twin is better. Four twins and a control with 10 seeds are one study;
the trainings of one large study are cut into many of these. An honest pipeline says "helps" or "hurts" in at most 5 %
of the studies, and its intervals hold 0 in at least 95 % of the contrasts.

Planted: an arm whose learning rate is a twentieth, and one a fifth of whose training labels are wrong. Studies of 10
seeds are cut out of a large one, whose mean difference is taken as the true one: the sign must be right, and the
interval must hold the size.

    python benchmarks/calibration.py              # ten minutes on two cores; writes docs/data/calibration.json
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from _harness import write_json

from slopewise.analysis import Contrast, analyse
from slopewise.records import StudyRecord
from slopewise.study import Study

SEEDS, GROUP = 10, 4  # of one study: seeds, and arms beside the control
FILE = Path(__file__).parents[1] / "docs" / "data" / "calibration.json"
TINY = {
    "data": {"train_size": 300},
    "model": {"options": {"width": 4}},
    "train": {"epochs": 12, "lr": 0.1},
    "monitor": {"every": 0},
}


def only(record: StudyRecord, arms: tuple[str, ...], seeds: tuple[int, ...]) -> StudyRecord:
    """Return some arms and seeds of a study as a study."""
    trials = tuple(trial for trial in record.trials if trial.arm in arms and trial.seed in seeds)
    return replace(record, arms=arms, seeds=seeds, trials=trials)


def blocks(record: StudyRecord) -> Iterator[StudyRecord]:
    """Split a large study into studies of `GROUP` arms and `SEEDS` seeds, and yield them."""
    arms = [arm for arm in record.arms if arm != record.control]
    for first in range(0, len(arms), GROUP):
        group = (record.control, *arms[first : first + GROUP])
        for start in range(0, len(record.seeds) - SEEDS + 1, SEEDS):
            yield only(record, group, record.seeds[start : start + SEEDS])


def alike(record: StudyRecord) -> dict[str, Any]:
    """Return the rates of false verdicts in studies without an effect."""
    studies = [analyse(block).primary for block in blocks(record)]
    contrasts = [contrast for study in studies for contrast in study]
    effects = [sum(contrast.verdict in ("helps", "hurts") for contrast in study) for study in studies]
    return {
        "studies": len(studies),
        "contrasts": len(contrasts),
        "studies with a false verdict": sum(count > 0 for count in effects),
        "intervals without 0": sum(not _holds(contrast, 0.0) for contrast in contrasts),
        "no practical effect": sum(contrast.verdict == "no practical effect" for contrast in contrasts),
        "spread of a difference": statistics.median(contrast.sd or 0.0 for contrast in contrasts),
    }


def planted(record: StudyRecord, arm: str) -> dict[str, Any]:
    """Return the number of studies that find the effect of an arm, with its sign and within their intervals."""
    (whole,) = (contrast for contrast in analyse(record).primary if contrast.arm == arm)
    pieces = [contrast for block in blocks(record) for contrast in analyse(block).primary if contrast.arm == arm]
    truth = whole.difference or 0.0
    wrong = "helps" if (truth < 0) == (whole.better == "higher") else "hurts"
    return {
        "studies": len(pieces),
        "true difference": truth,
        "found": sum(contrast.verdict in ("helps", "hurts") for contrast in pieces),
        "wrong sign": sum(contrast.verdict == wrong for contrast in pieces),
        "intervals without the true difference": sum(not _holds(contrast, truth) for contrast in pieces),
    }


def _holds(contrast: Contrast, value: float) -> bool:
    low, high = contrast.interval or (0.0, 0.0)
    return low <= value <= high


def main() -> None:
    """Train, judge, print and write the results."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--twins", type=int, default=40, help="A/A arms, a multiple of 4 (default 40)")
    options.add_argument("--seeds", type=int, default=50, help="seeds of each arm, a multiple of 10 (default 50)")
    options.add_argument("--json", type=Path, default=FILE, help="file to write")
    given = options.parse_args()
    twins = [{"name": f"twin_{k}", "activation": "_twins:twin", "options": {"number": k}} for k in range(given.twins)]
    slow = {"name": "slow", "activation": "relu", "lr": 0.0025}
    with tempfile.TemporaryDirectory() as folder:
        own = Study(arms=["relu", *twins, slow], seeds=given.seeds, **TINY).run(Path(folder, "own")).record
        labels = (
            Study(
                arms="relu,wrong=relu",
                seeds=given.seeds,
                margin=0.5,
                metrics=[{"name": "accuracy", "better": "higher", "unit": "points"}],
                train={"function": "_twins:train_with_wrong_labels"},
            )
            .run(Path(folder, "labels"))
            .record
        )
    *same, last = own.arms
    results = {
        "alike": alike(only(own, tuple(same), own.seeds)),
        "a twentieth of the learning rate": planted(only(own, (own.control, last), own.seeds), last),
        "a fifth of the labels wrong": planted(labels, "wrong"),
    }
    for name, figures in results.items():
        print(name, *(f"  {key}: {value}" for key, value in figures.items()), sep="\n")
    write_json("calibration", results, given.json)


if __name__ == "__main__":
    main()
