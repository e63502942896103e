"""How often are the analysis's intervals and verdicts wrong? Simulated studies with known truth.

Each simulated study has four arms and one control that they share, 5, 10 or 20 seeds, and accuracies whose noise has
one of several shapes. The first table compares candidates for the 95 % interval of the mean paired difference; the
package holds the chosen one, the others live here. The second counts the verdicts of the package's own functions.

    python benchmarks/coverage.py            # about two minutes on one core
    python benchmarks/coverage.py --quick    # seconds, rough
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from _harness import write_json
from numpy.typing import NDArray
from scipy import special

from slopewise.analysis import holm, mean_interval, sign_flip_p, verdict

Array = NDArray[np.float64]
Interval = tuple[Array, Array]

ARMS = 4
SEEDS = (5, 10, 20)
MARGIN = 0.5  # points, the default of a study
SHIFTS = (0.0, 0.5 * MARGIN, MARGIN, 2 * MARGIN)
BASE, CHANCE = 95.0, 10.0  # percent
DIVERGE = 0.1  # chance that a trial diverges, where it can
SEED_SD, NOISE_SD = 0.25, 0.4  # points: shared by the arms of a seed; each trial's own
RESAMPLES = 1999
LEVEL = 0.95


# --- simulated accuracies: each shape maps (generator, array shape) to zero-mean noise -------------------------------


def normal(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return NOISE_SD * rng.standard_normal(shape)


def left_skewed(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return NOISE_SD * (1 - rng.standard_exponential(shape))


def narrow(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return 0.5 * NOISE_SD * rng.standard_normal(shape)


# name: noise of the arms, noise of the control, test images (0: no grid), do arms diverge, does the control
SHAPES: dict[str, tuple[Callable, Callable, int, bool, bool]] = {
    "normal": (normal, normal, 0, False, False),
    "skewed": (left_skewed, left_skewed, 0, False, False),
    "lopsided": (left_skewed, narrow, 0, False, False),
    "grid 1/360": (normal, normal, 360, False, False),
    "grid 1/100": (normal, normal, 100, False, False),
    "all diverge": (normal, normal, 0, True, True),
    "arms diverge": (normal, normal, 0, True, False),
}


def differences(rng: np.random.Generator, shape: str, studies: int, n: int, shift: float) -> Array:
    """Arm minus control in points, shape (studies, ARMS, n)."""
    arm_noise, control_noise, images, arms_diverge, control_diverges = SHAPES[shape]
    seed = BASE + SEED_SD * rng.standard_normal((studies, 1, n))
    arms = seed + shift + arm_noise(rng, (studies, ARMS, n))
    control = seed + control_noise(rng, (studies, 1, n))
    if images:
        arms, control = (100 * np.rint(values * images / 100) / images for values in (arms, control))
    if arms_diverge:
        arms[rng.random(arms.shape) < DIVERGE] = CHANCE
    if control_diverges:
        control[rng.random(control.shape) < DIVERGE] = CHANCE
    return arms - control


def true_difference(shape: str, shift: float) -> float:
    _, _, _, arms_diverge, control_diverges = SHAPES[shape]
    arm, control = (
        (1 - DIVERGE) * mean + DIVERGE * CHANCE if diverges else mean
        for mean, diverges in ((BASE + shift, arms_diverge), (BASE, control_diverges))
    )
    return arm - control


# --- candidates for the interval: each maps (generator, differences of shape (studies, n)) to low and high -----------


def student_t(_: np.random.Generator, d: Array) -> Interval:
    return mean_interval(d, LEVEL)


def _resampled(rng: np.random.Generator, d: Array) -> tuple[Array, Array]:
    """Means and standard errors of bootstrap samples; the same draws serve every study."""
    n = d.shape[1]
    counts = rng.multinomial(n, np.full(n, 1 / n), size=RESAMPLES).T
    means = d @ counts / n
    squares = (d - d.mean(1, keepdims=True)) ** 2 @ counts / n - (means - d.mean(1, keepdims=True)) ** 2
    return means, np.sqrt(np.maximum(squares, 0) / (n - 1))


def percentile_bootstrap(rng: np.random.Generator, d: Array) -> Interval:
    means, _ = _resampled(rng, d)
    low, high = np.quantile(means, ((1 - LEVEL) / 2, (1 + LEVEL) / 2), axis=1)
    return low, high


def bca_bootstrap(rng: np.random.Generator, d: Array) -> Interval:
    """Efron (1987): percentiles corrected for bias and for the skewness of the jackknife."""
    means, _ = _resampled(rng, d)
    mean = d.mean(1, keepdims=True)
    below = ((means < mean - 1e-12).mean(1) + (means <= mean + 1e-12).mean(1)) / 2
    bias = special.ndtri(np.clip(below, 1 / RESAMPLES, 1 - 1 / RESAMPLES))
    influence = d - mean
    spread = np.maximum((influence**2).sum(1), 1e-12)
    acceleration = (influence**3).sum(1) / (6 * spread**1.5)
    means.sort(axis=1)
    ends = []
    for z in special.ndtri(((1 - LEVEL) / 2, (1 + LEVEL) / 2)):
        share = special.ndtr(bias + (bias + z) / (1 - acceleration * (bias + z)))
        index = np.clip(np.rint(share * (RESAMPLES + 1) - 1), 0, RESAMPLES - 1).astype(int)
        ends.append(np.take_along_axis(means, index[:, None], 1)[:, 0])
    return ends[0], ends[1]


def bootstrap_t(rng: np.random.Generator, d: Array) -> Interval:
    """Studentised: quantiles of (mean* - mean) / error*; unbounded where too many samples have no spread."""
    means, errors = _resampled(rng, d)
    mean, error = d.mean(1), d.std(1, ddof=1) / np.sqrt(d.shape[1])
    deviation = means - mean[:, None]
    deviation[np.abs(deviation) < 1e-9] = 0
    t = np.where(errors < 1e-9, np.copysign(np.inf, deviation), deviation / np.maximum(errors, 1e-9))
    t[(errors < 1e-9) & (deviation == 0)] = 0
    low, high = np.quantile(t, ((1 - LEVEL) / 2, (1 + LEVEL) / 2), axis=1, method="nearest")
    error = np.maximum(error, 1e-12)
    return mean - high * error, mean - low * error


def sign_flip_inversion(rng: np.random.Generator, d: Array) -> Interval:
    """Every mean that the sign-flip test does not reject: order statistics of subset means (Hartigan 1969)."""
    n = d.shape[1]
    patterns = np.arange(1, 2**n) if n <= 10 else rng.choice(2**n - 1, RESAMPLES, replace=False) + 1
    subsets = (patterns[:, None] >> np.arange(n)) & 1
    means = np.sort(d @ (subsets / subsets.sum(1, keepdims=True)).T, axis=1)
    rank = int((1 - LEVEL) / 2 * (len(patterns) + 1))
    if rank == 0:  # 5 seeds: no p value is as small as 0.05
        return np.full(len(d), -np.inf), np.full(len(d), np.inf)
    return means[:, rank - 1], means[:, -rank]


CANDIDATES = {
    "t": student_t,
    "percentile": percentile_bootstrap,
    "BCa": bca_bootstrap,
    "bootstrap-t": bootstrap_t,
    "sign-flip": sign_flip_inversion,
}


# --- what is counted -------------------------------------------------------------------------------------------------


def interval_row(rng: np.random.Generator, shape: str, n: int, studies: int) -> dict[str, object]:
    """Coverage and median width of every candidate, without a shift."""
    truth = true_difference(shape, 0.0)
    d = differences(rng, shape, studies, n, 0.0)[:, 0]  # one arm a study: independent intervals
    row: dict[str, object] = {"shape": shape, "seeds": n}
    for name, candidate in CANDIDATES.items():
        low, high = candidate(rng, d)
        slack = 1e-9  # an end that touches the truth covers it
        row[name] = {
            "coverage": float(np.mean((low <= truth + slack) & (truth - slack <= high))),
            "median_width": width if np.isfinite(width := float(np.median(high - low))) else None,
        }
    return row


def verdict_row(rng: np.random.Generator, shape: str, n: int, shift: float, studies: int) -> dict[str, object]:
    """Rates of the package's verdicts, per arm, and of studies with any "helps" or "hurts"."""
    d = differences(rng, shape, studies, n, shift)
    low, high = mean_interval(d)
    words = verdict(low, high, holm(sign_flip_p(d)), margin=MARGIN, better="higher")
    rates = {word: float(np.mean(words == word)) for word in ("helps", "hurts", "no practical effect", "inconclusive")}
    any_shown = float(np.mean(np.isin(words, ("helps", "hurts")).any(axis=1)))
    return {
        "shape": shape,
        "seeds": n,
        "shift": shift,
        "truth": true_difference(shape, shift),
        **rates,
        "any": any_shown,
    }


def worst_false_rate(verdicts: list[dict]) -> float:
    """Highest share of A/A studies, arms and control alike in all, with any "helps" or "hurts"."""
    alike = [name for name, (arm, control, _, *diverge) in SHAPES.items() if arm is control and len(set(diverge)) == 1]
    return max(row["any"] for row in verdicts if row["shape"] in alike and row["shift"] == 0)


def measure(studies: int, seed: int) -> dict[str, list[dict[str, object]]]:
    rng = np.random.default_rng(seed)
    cells = [(shape, n) for shape in SHAPES for n in SEEDS]
    return {
        "intervals": [interval_row(rng, shape, n, studies) for shape, n in cells],
        "verdicts": [
            # error rates of an A/A study need the precision; power does not
            verdict_row(rng, shape, n, shift, studies if shift == 0 else max(studies // 5, 1))
            for shape, n in cells
            for shift in SHIFTS
        ],
    }


def _width(cell: dict) -> str:
    return "unbounded" if cell["median_width"] is None else f"{cell['median_width']:.2f}"


def print_tables(results: dict[str, list[dict]]) -> None:
    print("Coverage of the nominal 95 % interval, in % (median width in points):\n")
    print(f"{'noise':<14}{'seeds':>5}" + "".join(f"{name:>18}" for name in CANDIDATES))
    for row in results["intervals"]:
        cells = (f"{100 * row[name]['coverage']:.1f} ({_width(row[name])})" for name in CANDIDATES)
        print(f"{row['shape']:<14}{row['seeds']:>5}" + "".join(f"{cell:>18}" for cell in cells))
    print(f"\nVerdicts over {ARMS} arms, margin {MARGIN} points: % of arms; any: % of studies with helps or hurts\n")
    print(
        f"{'noise':<14}{'seeds':>5}{'shift':>7}{'truth':>7}{'helps':>8}{'hurts':>8}{'none':>8}{'unclear':>9}{'any':>8}"
    )
    for row in results["verdicts"]:
        rates = [100 * row[word] for word in ("helps", "hurts", "no practical effect", "inconclusive", "any")]
        print(
            f"{row['shape']:<14}{row['seeds']:>5}{row['shift']:>7.2f}{row['truth']:>7.2f}"
            f"{rates[0]:>8.2f}{rates[1]:>8.2f}{rates[2]:>8.2f}{rates[3]:>9.2f}{rates[4]:>8.2f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=10_000, help="simulated A/A studies a row (default 10000)")
    parser.add_argument("--quick", action="store_true", help="500 studies a row")
    parser.add_argument("--seed", type=int, default=0, help="of the simulation (default 0)")
    parser.add_argument("--json", type=Path, help="file to write", metavar="PATH")
    options = parser.parse_args()
    studies = 500 if options.quick else options.studies
    start = time.perf_counter()
    results = measure(studies, options.seed)
    seconds = time.perf_counter() - start
    print_tables(results)
    worst = 100 * worst_false_rate(results["verdicts"])
    print(f"\nHighest share of A/A studies with any helps or hurts: {worst:.2f} % (promised: at most 5 %)")
    print(f"{studies} A/A studies a row, {seconds:.0f} s")
    settings = {"studies": studies, "seed": options.seed, "seconds": round(seconds, 1)}
    write_json("coverage", {"settings": settings, **results}, options.json)


if __name__ == "__main__":
    main()
