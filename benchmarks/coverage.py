"""Error rates of the analysis's intervals and verdicts, in simulated studies with known truth.

Each simulated study has a control, four arms (or one) and 5 to 20 seeds; its accuracies have one of the shapes of
`_shapes.py`. The first table compares candidates for the 95 % interval of the mean paired difference; the package
holds the chosen one, the others are in `_intervals.py`. The second counts the verdicts that the package's own functions
give, and marks the false ones. Two more tables are about runs that are not paired, two about adaptive studies, whose
arms get no further seeds once they are decided. docs/statistics.md and README's table are written from the results.

    python benchmarks/coverage.py            # half an hour on two cores; writes coverage.json and the pages
    python benchmarks/coverage.py --quick    # seconds, rough, writes nothing
    python benchmarks/coverage.py --add      # only the rows that docs/data/coverage.json lacks
    python benchmarks/coverage.py --pages    # the pages alone, from docs/data/coverage.json
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from _adaptive import ARMS, FALSE_SHAPES, LOOKS, MARGIN, ROWS, joint_coverage, judge_looks
from _intervals import CANDIDATES, CHOSEN, RUN_CANDIDATES
from _shapes import CHANCE, SHAPES, Array, Shape
from _statistics_page import RESULTS, write_pages, write_results

from slopewise.analysis import difference_interval, holm, mean_interval, permutation_p, sign_flip_p, verdict
from slopewise.analysis._pairs import with_losses, worst_of
from slopewise.analysis._power import Design
from slopewise.analysis._verdict import reaches

DESIGNS = ((4, 5), (4, 8), (4, 10), (4, 20), (1, 6))  # arms beside the control, and seeds; 8 and 6 are the floors
SHIFTS = tuple(factor * MARGIN for factor in (-2, -1, -0.5, 0, 0.5, 1, 2))
RUN_DESIGNS = ((4, 5, 5), (4, 8, 8), (4, 10, 10), (4, 6, 12), (1, 4, 4))  # arms, their runs, the control's runs
RUN_SHIFTS = (-MARGIN, 0, MARGIN)
RUN_SHAPES = tuple(name for name, shape in SHAPES.items() if not 0 < shape.arm_diverges + shape.control_diverges < 0.1)
VERDICTS = ("helps", "hurts", "no practical effect", "inconclusive")


def compact(d: Array) -> list[tuple[Array, Array]]:
    """Return the rows of differences by how many of them are known: indices, and rows without NaN."""
    known = (~np.isnan(d)).sum(-1)
    return [
        (index, d[index][~np.isnan(d[index])].reshape(-1, int(count)))
        for count in np.unique(known)
        if len(index := np.flatnonzero(known == count)) and count
    ]


def differences(arm: Array, control: Array) -> Array:
    """Return arm - control; NaN where both diverged, or where a trial is missing."""
    missing = np.isinf(arm) | np.isinf(control)
    values, controls = with_losses(*(np.where(missing, np.nan, each) for each in (arm, control)), CHANCE)
    return values - controls


def judge(shape: Shape, arm: Array, control: Array) -> Array:
    """Return the package's verdict on every arm, of shape (studies, arms)."""
    d = differences(arm, control).reshape(-1, arm.shape[-1])
    low, high, p = np.full(len(d), np.nan), np.full(len(d), np.nan), np.ones(len(d))
    for index, rows in compact(d):
        p[index] = sign_flip_p(rows)
        if rows.shape[1] > 1:
            low[index], high[index] = mean_interval(rows, resolution=shape.resolution)
    converged = (np.isfinite(arm) & np.isfinite(control)).sum(-1)
    low, high, p = (each.reshape(arm.shape[:2]) for each in (low, high, p))
    enough = np.vectorize(lambda n: Design(n).enough(arm.shape[1]))(converged)
    return verdict(low, high, holm(p), margin=MARGIN, better="higher", enough=enough)


def judge_runs(shape: Shape, arm: Array, control: Array) -> Array:
    """Return the package's verdict on every arm whose runs are not paired with the control's."""
    size = arm.shape[:2]
    groups = list(known_runs(arm.reshape(-1, arm.shape[-1]), np.repeat(control[:, 0], size[1], axis=0)))
    low, high, p = np.full(size[0] * size[1], np.nan), np.full(size[0] * size[1], np.nan), np.ones(size[0] * size[1])
    for index, ones, others in groups:
        if min(ones.shape[1], others.shape[1]) > 1:
            low[index], high[index] = difference_interval(ones, others, resolution=shape.resolution)
    # Without an interval that excludes 0, no p value changes a verdict of the study; to count splits takes longest.
    matters = np.repeat(((low > 0) | (high < 0)).reshape(size).any(axis=1), size[1])
    for index, ones, others in groups:
        p[index[matters[index]]] = permutation_p(ones[matters[index]], others[matters[index]])
    trained = np.isfinite(arm).sum(-1), np.broadcast_to(np.isfinite(control).sum(-1), size)
    enough = np.vectorize(lambda n, m: Design(n, m).enough(size[1]))(*trained)
    low, high, p = (each.reshape(size) for each in (low, high, p))
    return verdict(low, high, holm(p), margin=MARGIN, better="higher", enough=enough)


def known_runs(arm: Array, control: Array) -> Iterator[tuple[Array, Array, Array]]:
    """Yield the rows of two arms by how many of their runs are there: indices, and runs of the arm and of the control.

    Diverged runs have what they count with. Rows without a run that trained are left out.
    """
    here = [~np.isinf(values) for values in (arm, control)]
    counts = np.stack([each.sum(-1) for each in here], axis=1)
    trained = (np.isfinite(arm).any(-1) | np.isfinite(control).any(-1)) & counts.all(axis=1)
    for n, m in np.unique(counts[trained], axis=0):
        index = np.flatnonzero(trained & (counts == (n, m)).all(axis=1))
        ones, others = (v[index][k[index]].reshape(-1, c) for v, k, c in zip((arm, control), here, (n, m), strict=True))
        worst = np.array(
            [worst_of(a[~np.isnan(a)], c[~np.isnan(c)], CHANCE) for a, c in zip(ones, others, strict=True)]
        )
        yield index, *(np.where(np.isnan(values), worst[:, None], values) for values in (ones, others))


def interval_row(seed: int, name: str, n: int, studies: int) -> dict[str, Any]:
    """Return coverage and median width of every candidate, without a shift, one arm a study."""
    shape, rng = SHAPES[name], _generator(seed, name, n)
    truth = shape.truth(0.0)
    d = differences(*shape.accuracies(rng, studies, 1, n, 0.0))[:, 0]
    groups = [rows for _, rows in compact(d) if rows.shape[1] > 1]
    row: dict[str, Any] = {"shape": shape.name, "seeds": n}
    slack = 1e-9  # an end that touches the truth covers it
    for title, candidate in CANDIDATES.items():
        low, high = (np.concatenate(ends) for ends in zip(*(candidate(rng, d) for d in groups), strict=True))
        width = float(np.median(high - low))
        row[title] = {
            "coverage": float(np.mean((low <= truth + slack) & (truth - slack <= high))),
            "median_width": width if np.isfinite(width) else None,
        }
    return row


def verdict_row(seed: int, name: str, arms: int, n: int, shift: float, studies: int) -> dict[str, Any]:
    """Return the share of arms that each verdict is given to, and that of studies with any "helps" or "hurts"."""
    shape, rng = SHAPES[name], _generator(seed, name, arms, n, shift)
    words = judge(shape, *shape.accuracies(rng, studies, arms, n, shift))
    return {
        "shape": shape.name,
        "arms": arms,
        "seeds": n,
        "shift": shift,
        "truth": shape.truth(shift),
        **{word: float(np.mean(words == word)) for word in VERDICTS},
        "any": float(np.mean(np.isin(words, ("helps", "hurts")).any(axis=1))),
    }


def runs_interval_row(seed: int, name: str, n: int, m: int, studies: int) -> dict[str, Any]:
    """Return coverage and median width of Welch's interval and of the package's, without a shift, one arm a study."""
    shape, rng = SHAPES[name], _generator(seed, "runs", name, n, m)
    arm, control = shape.runs(rng, studies, 1, n, m, 0.0)
    groups = [group[1:] for group in known_runs(arm[:, 0], control[:, 0])]
    groups = [group for group in groups if min(values.shape[1] for values in group) > 1]
    row: dict[str, Any] = {"shape": shape.name, "runs": n, "control_runs": m}
    truth, slack = shape.runs_truth(0.0), 1e-9
    for title, candidate in RUN_CANDIDATES.items():
        low, high = (np.concatenate(ends) for ends in zip(*(candidate(*group) for group in groups), strict=True))
        row[title] = {
            "coverage": float(np.mean((low <= truth + slack) & (truth - slack <= high))),
            "median_width": float(np.median(high - low)),
        }
    return row


def runs_verdict_row(seed: int, name: str, arms: int, n: int, m: int, shift: float, studies: int) -> dict[str, Any]:
    """Return the shares of `verdict_row` where runs are not paired."""
    shape, rng = SHAPES[name], _generator(seed, "runs", name, arms, n, m, shift)
    words = judge_runs(shape, *shape.runs(rng, studies, arms, n, m, shift))
    return {
        "shape": shape.name,
        "arms": arms,
        "runs": n,
        "control_runs": m,
        "shift": shift,
        "truth": shape.runs_truth(shift),
        **{word: float(np.mean(words == word)) for word in VERDICTS},
        "any": float(np.mean(np.isin(words, ("helps", "hurts")).any(axis=1))),
    }


def adaptive_row(seed: int, name: str, shift: float, margin: float, studies: int) -> dict[str, Any]:
    """Return the shares of `verdict_row` for adaptive and for fixed studies (all seeds), and the mean seeds used."""
    shape, rng = SHAPES[name], _generator(seed, "adaptive", name, shift)
    arm, control = shape.accuracies(rng, studies, ARMS, LOOKS[-1], shift)
    d, converged = differences(arm, control), np.isfinite(arm) & np.isfinite(control)
    row: dict[str, Any] = {"shape": shape.name, "shift": shift, "margin": margin, "truth": shape.truth(shift)}
    for design, looks in (("adaptive", LOOKS), ("fixed", LOOKS[-1:])):
        words, seeds = judge_looks(d, converged, shape.resolution, looks, margin)
        row[design] = {
            **{word: float(np.mean(words == word)) for word in VERDICTS},
            "any": float(np.mean(np.isin(words, ("helps", "hurts")).any(axis=1))),
            "seeds": float(seeds.mean()),
        }
    return row


def look_interval_row(seed: int, name: str, studies: int) -> dict[str, Any]:
    """Return how often the intervals of all looks contain the true difference, without a shift."""
    shape, rng = SHAPES[name], _generator(seed, "look intervals", name)
    d = differences(*shape.accuracies(rng, studies, 1, LOOKS[-1], 0.0))[:, 0]
    return {"shape": shape.name, **joint_coverage(d, shape.truth(0.0), shape.resolution)}


def false_verdicts(truth: float) -> set[str]:
    """Return the verdicts that are wrong where this is the true difference.

    "Inconclusive" claims nothing; it is a miss where the difference matters.
    """
    wrong = {"no practical effect", "inconclusive"} if reaches(truth, MARGIN) else set()
    return wrong | ({"helps"} if truth <= 1e-12 else set()) | ({"hurts"} if truth >= -1e-12 else set())


def _generator(seed: int, *row: object) -> np.random.Generator:
    """Return a row's own stream, so that no row depends on the others."""
    return np.random.default_rng([seed, *hashlib.sha256(repr(row).encode()).digest()])


def measure(
    studies: int, seed: int, workers: int, known: dict[str, list[dict[str, Any]]] | None = None
) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of all tables; those in `known` are not measured again, since no row depends on another."""
    seeds = sorted({n for _, n in DESIGNS})
    # The error rates of an A/A study need the precision.
    tasks: dict[str, list[tuple[Any, ...]]] = {
        "intervals": [(seed, name, n, studies) for name in SHAPES for n in seeds],
        "verdicts": [
            (seed, name, arms, n, shift, studies if shift == 0 else max(studies // 5, 1))
            for name in SHAPES
            for arms, n in DESIGNS
            for shift in SHIFTS
        ],
        "runs_intervals": [
            (seed, name, n, m, studies) for name in RUN_SHAPES for n, m in dict.fromkeys(d[1:] for d in RUN_DESIGNS)
        ],
        "runs_verdicts": [
            (seed, name, *design, shift, studies if shift == 0 else max(studies // 5, 1))
            for name in RUN_SHAPES
            for design in RUN_DESIGNS
            for shift in RUN_SHIFTS
        ],
        "look_intervals": [(seed, name, studies) for name in FALSE_SHAPES],
        "adaptive": [(seed, *row, studies if row[1] == 0 else max(studies // 5, 1)) for row in ROWS],
    }
    functions = {
        "intervals": (interval_row, 2),
        "verdicts": (verdict_row, 4),
        "runs_intervals": (runs_interval_row, 3),
        "runs_verdicts": (runs_verdict_row, 5),
        "look_intervals": (look_interval_row, 1),
        "adaptive": (adaptive_row, 3),
    }
    results: dict[str, list[dict[str, Any]]] = {}
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for table, (function, keys) in functions.items():
            rows = {tuple(row.values())[:keys]: row for row in (known or {}).get(table, ())}
            todo = [task for task in tasks[table] if task[1 : keys + 1] not in rows]
            if todo:
                new = pool.map(function, *zip(*todo, strict=True), chunksize=2)
                rows |= zip((task[1 : keys + 1] for task in todo), new, strict=True)
            results[table] = [rows[task[1 : keys + 1]] for task in tasks[table]]
    return results


def print_tables(results: dict[str, list[dict[str, Any]]]) -> None:
    print("Coverage of the nominal 95 % interval, in % (median width in points):\n")
    print(f"{'accuracies':<25}{'seeds':>5}" + "".join(f"{name:>18}" for name in CANDIDATES))
    for row in results["intervals"]:
        cells = []
        for name in CANDIDATES:
            width = row[name]["median_width"]
            cells.append(f"{100 * row[name]['coverage']:.1f} ({'unbounded' if width is None else f'{width:.2f}'})")
        print(f"{row['shape']:<25}{row['seeds']:>5}" + "".join(f"{cell:>18}" for cell in cells))
    print(f"\nVerdicts, margin {MARGIN} points: % of arms; any: % of studies with helps or hurts. !: false or missed\n")
    heads = (("helps", 9), ("hurts", 9), ("none", 9), ("unclear", 9), ("any", 8))
    head = f"{'accuracies':<25}{'arms':>5}{'seeds':>6}{'shift':>7}{'truth':>7}"
    print(head + "".join(f"{name:>{width}}" for name, width in heads))
    for row in results["verdicts"]:
        wrong = false_verdicts(row["truth"])
        rates = "".join(f"{100 * row[word]:>8.2f}{'!' if word in wrong else ' '}" for word in VERDICTS)
        start = f"{row['shape']:<25}{row['arms']:>5}{row['seeds']:>6}{row['shift']:>7.2f}{row['truth']:>7.2f}"
        print(f"{start}{rates}{100 * row['any']:>8.2f}")
    print("\nUnpaired runs: coverage in %; verdicts as above\n")
    for row in results["runs_intervals"]:
        cells = "  ".join(f"{name} {100 * row[name]['coverage']:.1f}" for name in RUN_CANDIDATES)
        print(f"{row['shape']:<25}{row['runs']:>4}{row['control_runs']:>4}  {cells}")
    for row in results["runs_verdicts"]:
        wrong = false_verdicts(row["truth"])
        rates = "".join(f"{100 * row[word]:>8.2f}{'!' if word in wrong else ' '}" for word in VERDICTS)
        start = f"{row['shape']:<25}{row['arms']:>3}{row['runs']:>4}{row['control_runs']:>4}{row['shift']:>7.2f}"
        print(f"{start}{row['truth']:>7.2f}{rates}{100 * row['any']:>8.2f}")
    print("\nIntervals of all looks together: coverage in %\n")
    for row in results["look_intervals"]:
        print(f"{row['shape']:<25}" + "  ".join(f"{key} {100 * row[key]:.1f}" for key in row if key != "shape"))
    print("\nAdaptive studies: % of arms, adaptive / with all seeds; mean seeds of an arm\n")
    for row in results["adaptive"]:
        pair = row["adaptive"], row["fixed"]
        rates = "".join(
            f"{' / '.join(f'{100 * shares[key]:.2f}' for shares in pair):>18}" for key in (*VERDICTS, "any")
        )
        start = f"{row['shape']:<25}{row['margin']:>7.2f}{row['shift']:>7.2f}{row['truth']:>7.2f}"
        print(f"{start}{rates}{row['adaptive']['seeds']:>8.1f}")
    print("\nLargest rates of false verdicts, in %, and where:\n")
    for word in VERDICTS[:3]:
        worst = max((r for r in results["verdicts"] if word in false_verdicts(r["truth"])), key=lambda r, w=word: r[w])
        where = f"{worst['shape']}, {worst['arms']} arms, {worst['seeds']} seeds, true difference {worst['truth']:.2f}"
        print(f"{word:<20}{100 * worst[word]:>6.2f}   {where}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=10_000, help="simulated A/A studies a row (default 10000)")
    parser.add_argument("--quick", action="store_true", help="300 studies a row, nothing is written")
    parser.add_argument("--add", action="store_true", help="measure only the rows that the stored results lack")
    parser.add_argument("--pages", action="store_true", help="write the pages from earlier results")
    parser.add_argument("--seed", type=int, default=0, help="of the simulation (default 0)")
    parser.add_argument("--workers", type=int, default=2, help="processes side by side (default 2)")
    parser.add_argument("--json", type=Path, help="file to write instead, and no pages", metavar="PATH")
    options = parser.parse_args()
    if options.pages:
        write_pages()
        return
    studies = 300 if options.quick else options.studies
    start = time.perf_counter()
    known = json.loads(RESULTS.read_text(encoding="utf-8")) if options.add else None
    results = measure(studies, options.seed, options.workers, known)
    print_tables(results)
    print(f"\n{studies} A/A studies a row, {time.perf_counter() - start:.0f} s")
    if options.json or not options.quick:
        settings = {
            "studies": studies,
            "seed": options.seed,
            "margin": MARGIN,
            "chosen": CHOSEN,
            "looks": LOOKS,
            "adaptive_arms": ARMS,
        }
        write_results({"settings": settings, **results}, options.json or RESULTS)
    if not (options.json or options.quick):
        write_pages()


if __name__ == "__main__":
    main()
