"""Plan of a study: a pure function of its spec and of the trials that have ended.

A study has three stages: tuning of the learning rates; the trials under its own settings, look by look in an adaptive
study; and the trials of the other cells. `next_trials` returns the trials of the current stage that have not ended. The
plan depends on nothing but the spec and the records, so an interrupted study resumes exactly where it stopped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from slopewise.analysis import ArmTuning, analyse, seeds_of_arms, tuned
from slopewise.errors import SpecError
from slopewise.events import TrialKey
from slopewise.records import CellRecord, StudyRecord, TrialRecord
from slopewise.study._cells import FIRST_TUNING_SEED, cell_key, designed_cells, tuned_arms
from slopewise.study._spec import StudySpec
from slopewise.study._spec_designs import TuneSpec
from slopewise.study._store import Key


def key_of(trial: TrialRecord | TrialKey) -> Key:
    """Return the key that identifies a trial within its study."""
    return trial.arm, trial.seed, trial.cell


def ended(record: StudyRecord | None) -> dict[Key, TrialRecord]:
    """Return the finished and failed trials of a study by key, in all cells."""
    return {key_of(trial): trial for trial in record.every_trial} if record else {}


def all_cells(spec: StudySpec, record: StudyRecord | None) -> tuple[CellRecord, ...]:
    """Return the cells of a study, without their trials, as far as the trials so far determine them."""
    return (*(tuning_cells(spec, record) if spec.tune else ()), *designed_cells(spec))


def plan(spec: StudySpec, record: StudyRecord | None = None) -> tuple[TrialKey, ...]:
    """Return all trials that a study may run, in order: tuning, own settings, other cells.

    All arms of a seed run before the next seed, so that drifts in the machine's speed affect all arms alike.
    """
    cells = all_cells(spec, record)
    own = tuple(TrialKey(arm.name, seed) for seed in spec.seeds for arm in spec.arms)
    tune = _trials(cell for cell in cells if "tune" in cell.roles)
    return tuple(dict.fromkeys((*tune, *own, *_trials(cell for cell in cells if "tune" not in cell.roles))))


def remaining(spec: StudySpec, record: StudyRecord | None, settled: Iterable[Key]) -> tuple[TrialKey, ...]:
    """Return the trials of the plan that may still run; in an adaptive study, without those of decided arms.

    Args:
        spec: Spec of the study.
        record: Records of the study so far; None if it has not begun.
        settled: Keys of the trials that must not run, or run again.
    """
    done, over = set(settled), _beyond_decisions(spec, record)
    return tuple(trial for trial in plan(spec, record) if key_of(trial) not in done | over)


def next_trials(spec: StudySpec, record: StudyRecord | None, settled: Iterable[Key]) -> tuple[TrialKey, ...]:
    """Return the trials of the current stage, with the tuned learning rates; empty once the study has ended.

    Raises:
        SpecError: The best rate of an arm is at the edge of the range after all widening, or no rate trains an arm.
    """
    left = remaining(spec, record, settled)
    tune = tuple(trial for trial in left if trial.seed >= FIRST_TUNING_SEED and trial.seed not in spec.seeds)
    if tune:
        return tune
    rates = chosen_rates(spec, record)
    own = tuple(trial for trial in left if trial.cell == "")
    if spec.until_decided and own:
        position = {seed: number for number, seed in enumerate(spec.seeds, start=1)}
        first = min(position[trial.seed] for trial in own)
        look = next(look for look in spec.until_decided.looks or () if look >= first)
        left = tuple(trial for trial in own if position[trial.seed] <= look)
    return tuple(replace(trial, rates=rates) for trial in left)


def _beyond_decisions(spec: StudySpec, record: StudyRecord | None) -> set[Key]:
    """Return the keys of the trials that an adaptive study skips, because their arm has been decided."""
    if not spec.until_decided or record is None or not record.trials:
        return set()
    seeds = seeds_of_arms(record, analyse(record).primary)
    return {(arm.name, seed, "") for arm in spec.arms for seed in spec.seeds[seeds[arm.name] :]}


def decided_arms(spec: StudySpec, record: StudyRecord | None) -> Mapping[str, str]:
    """Return the verdict of each decided arm of an adaptive study; empty for a fixed study."""
    if not spec.until_decided or record is None or not record.trials:
        return {}
    return {c.arm: c.verdict for c in analyse(record).primary if c.verdict != "inconclusive"}


def tuning_cells(spec: StudySpec, record: StudyRecord | None) -> tuple[CellRecord, ...]:
    """Return the cells of the tuning: one per quasirandom rate, and one per rate that has widened the range so far."""
    tune = spec.tune
    if tune is None:
        return ()
    arms = tuple(arm.name for arm in tuned_arms(spec))
    seeds = tuple(range(FIRST_TUNING_SEED, FIRST_TUNING_SEED + tune.seeds))
    done, rates = ended(record), quasirandom_rates(tune)
    for _ in range(tune.widen):
        cells = _tuning_cells(rates, arms, seeds, done)
        if record is None or any(len(cell.trials) < len(arms) * len(seeds) for cell in cells):
            break
        wider = _wider(rates, [tuned(arm, cells, record.primary, stable=tune.stable).edge for arm in arms])
        if not wider:
            break
        rates = (*rates, *wider)
    return tuple(replace(cell, trials=()) for cell in _tuning_cells(rates, arms, seeds, done))


def chosen_rates(spec: StudySpec, record: StudyRecord | None) -> tuple[tuple[str, float], ...]:
    """Return the tuned learning rate of each arm; empty if nothing is tuned.

    Raises:
        SpecError: The best rate of an arm is at the edge of the range, or no rate trains an arm.
    """
    if spec.tune is None or record is None:
        return ()
    chosen = []
    done = ended(record)
    arms = tuple(arm.name for arm in tuned_arms(spec))
    cells = [replace(cell, trials=_of(cell, done)) for cell in tuning_cells(spec, record)]
    for arm in arms:
        result = tuned(arm, cells, record.primary, stable=spec.tune.stable)
        if result.rate is None:
            raise SpecError(
                f"tune: arm '{arm}' trains at none of the learning rates from {min(result.rates):g} to "
                f"{max(result.rates):g}: give another range tune.lr, in another folder"
            )
        if result.edge:
            raise SpecError(f"tune: arm '{arm}' {_at_edge(result)}, in another folder")
        chosen.append((arm, result.rate))
    return tuple(chosen)


def _at_edge(result: ArmTuning) -> str:
    """Describe why the rate of an arm lies at an edge, and what to do."""
    if result.passed_over:
        return (
            f"is left with {result.rate:g}, the lowest learning rate that was tried, because trials diverged at it or "
            "at one of the next two: give a lower tune.lr, a larger tune.widen or tune.stable = false"
        )
    return (
        f"is best at {result.rate:g}, the {result.edge} learning rate that was tried; a better rate may lie "
        "beyond it: give a wider tune.lr or a larger tune.widen"
    )


def quasirandom_rates(tune: TuneSpec) -> tuple[float, ...]:
    """Return the learning rates of a tuning before any widening: Sobol points over the logarithm of the range.

    Example:
        >>> quasirandom_rates(TuneSpec(lr=(0.001, 0.1), points=3))
        (0.01, 0.0316, 0.00316)
    """
    from scipy.stats import qmc

    low, high = tune.lr
    sequence = qmc.Sobol(1, scramble=False)
    sequence.fast_forward(1)  # the first point is 0: the lower end of the range
    points = [float(sequence.random(1)[0, 0]) for _ in range(tune.points)]
    return tuple(_rounded(low * (high / low) ** point) for point in points)


def _rounded(rate: float) -> float:
    return float(f"{rate:.3g}")


def _wider(rates: tuple[float, ...], edges: Iterable[str | None]) -> tuple[float, ...]:
    """Return two rates beyond each edge at which an arm is best, spaced by the mean ratio of the rates tried so far."""
    low, high = min(rates), max(rates)
    step = (high / low) ** (1 / (len(rates) - 1))
    beyond = {"lowest": (low / step, low / step**2), "highest": (high * step, high * step**2)}
    reached = set(edges)
    return tuple(_rounded(rate) for edge, rates_beyond in beyond.items() if edge in reached for rate in rates_beyond)


def _tuning_cells(
    rates: Iterable[float], arms: tuple[str, ...], seeds: tuple[int, ...], done: Mapping[Key, TrialRecord]
) -> list[CellRecord]:
    settings = [{"train.lr": rate} for rate in rates]
    cells = [CellRecord(cell_key(of_cell), of_cell, ("tune",), arms, seeds) for of_cell in settings]
    return [replace(cell, trials=_of(cell, done)) for cell in cells]


def _of(cell: CellRecord, done: Mapping[Key, TrialRecord]) -> tuple[TrialRecord, ...]:
    keys = (key_of(trial) for trial in _trials([cell]))
    return tuple(done[key] for key in keys if key in done)


def _trials(cells: Iterable[CellRecord]) -> tuple[TrialKey, ...]:
    return tuple(TrialKey(arm, seed, cell.key) for cell in cells for seed in cell.seeds for arm in cell.arms)
