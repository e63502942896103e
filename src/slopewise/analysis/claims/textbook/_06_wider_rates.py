"""Claim 6: PReLU trains at learning rates at which ReLU fails."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import replace

from slopewise.analysis._cautions import untrained_arms
from slopewise.analysis.claims._arms import Arm, learned_arms, number, relu_cautions, relu_of
from slopewise.analysis.claims._base import Claim, Finding, TrialKey
from slopewise.analysis.claims._prelu import lacking_arms
from slopewise.analysis.claims._settle import Measured, settle
from slopewise.analysis.claims._values import of_rate, of_values
from slopewise.records import StudyRecord, TrialRecord

BAND = 5.0  # percentage points of all rates; smaller differences have no practical effect
_PART, _RESCUED, _LOST = "trains where ReLU fails", "rates at which ReLU fails", "rates at which PReLU fails"
Runs = dict[tuple[float, int], TrialRecord]  # by learning rate and seed
Trained = dict[tuple[float, int], bool]


class WiderRates(Claim):
    """Learning rates at which each arm trains, among the rates that the study tries for all arms."""

    id = "wider-rates"
    number = 6
    statement = "PReLU trains at learning rates at which ReLU fails, and not the other way round."
    source = "textbooks and advice in forums: less sensitive to the learning rate; no published figure known"
    prediction = "the rates at which only PReLU trains outnumber those at which only ReLU does"
    design = "the same learning rates for every arm, some of them too high for ReLU"
    toml = "[map]\nlr = [0.01, 0.03, 0.1, 0.3, 1.0, 3.0]\ninit = [0.25]\nseeds = 6"
    statistic = (
        "for each seed, the number of rates at which only PReLU trains minus the number at which only ReLU does, in "
        "percent of all rates; exact sign-flip test over seeds, because trials of one seed start alike. All rates "
        "count: selecting those at which ReLU fails would favour any other arm"
    )
    rule = (
        "A trial trains if it does not diverge and its score beats guessing by two standard errors. Supported if the "
        "mean is shown to lie above 0, contradicted if below, no practical effect if its interval lies within 5 points "
        "and some trials, but not all, trained."
    )

    def judge(self, study: StudyRecord, /) -> Sequence[Finding]:
        """Judge the cells of the tuning, of the sensitivity map, and of a factor over the learning rate."""
        relu, arms = relu_of(study), learned_arms(study)
        if relu is None or not arms:
            return [self.not_tested(_PART, lacking_arms(study, arms))]
        base = runs_by_rate(study, relu)
        if not base:
            return [self.not_tested(_PART, "learning rates tried for all arms ([map] or [tune])")]
        rows: list[Measured] = []
        for arm in arms:
            rows += _rows(study, arm, relu, runs_by_rate(study, arm), base)
        return settle(rows)


def runs_by_rate(study: StudyRecord, arm: Arm) -> Runs:
    """Return the finished trials of an arm by rate and seed, at the initial slope nearest to its own."""
    inits: dict[tuple[float, int], list[tuple[float, TrialRecord]]] = {}
    for cell in study.cells:
        rate, init = number(cell.settings.get("train.lr")), number(cell.settings.get("arm.options.init"))
        if rate is None or not cell.settings.keys() <= {"train.lr", "arm.options.init"}:
            continue
        away = 0.0 if init is None else abs(init - (arm.init or 0.0))
        for trial in cell.trials:
            if trial.arm == arm.name and trial.status == "finished":
                inits.setdefault((rate, trial.seed), []).append((away, trial))
    return {key: min(trials, key=lambda pair: pair[0])[1] for key, trials in inits.items()}


def trains(study: StudyRecord, trial: TrialRecord) -> bool:
    """Return True if a trial did not diverge and its score beats guessing by more than two standard errors."""
    scored = trial if trial.score("test", study.primary.name) is not None else _validated(study, trial)
    return not trial.diverged and not untrained_arms(study, {trial.arm: {trial.seed: scored}})


def _validated(study: StudyRecord, trial: TrialRecord) -> TrialRecord:
    rows = (r for r in trial.scores if (r.part, r.metric, r.epoch) == ("validation", study.primary.name, None))
    return replace(trial, scores=tuple(replace(row, part="test") for row in rows))


def _rows(study: StudyRecord, arm: Arm, relu: Arm, runs: Runs, base: Runs) -> list[Measured]:
    both = sorted(runs.keys() & base.keys())
    ours, theirs = ({key: trains(study, trials[key]) for key in both} for trials in (runs, base))
    net: dict[int, list[int]] = {}
    for rate, seed in both:
        net.setdefault(seed, []).append(ours[rate, seed] - theirs[rate, seed])
    rescued, lost = (sum(one[k] and not other[k] for k in both) for one, other in ((ours, theirs), (theirs, ours)))
    counts = f"of {len(both)} pairs of trials, {rescued} train only with {arm.name} and {lost} only with {relu.name}"
    row = of_values(
        study,
        (arm.name, relu.name),
        {seed: 100 * statistics.fmean(signs) for seed, signs in net.items()},
        part=_PART,
        subject=f"share of rates at which only {arm.name} trains minus share at which only {relu.name} does",
        predicted="higher",
        unit="points",
        digits=1,
        band=BAND if len({*ours.values(), *theirs.values()}) == 2 else None,
        keys=lambda _: [_key(trials[key]) for trials in (runs, base) for key in both],
        own=False,
        cautions=(*relu_cautions(relu), *((counts,) if both else ())),
    )
    return [
        row,
        *_described(arm, relu, runs, ours, theirs, _RESCUED),
        *_described(relu, arm, base, theirs, ours, _LOST),
    ]


def _described(arm: Arm, other: Arm, runs: Runs, ours: Trained, theirs: Trained, part: str) -> list[Measured]:
    """Return how often an arm trains at the rates at which at least half of the other arm's trials fail."""
    by_rate: dict[float, list[bool]] = {}
    for (rate, _), trained in theirs.items():
        by_rate.setdefault(rate, []).append(trained)
    failing = {rate for rate, trained in by_rate.items() if 2 * sum(trained) <= len(trained)}
    keys = [key for key in ours if key[0] in failing]
    if not keys:
        return []
    shown = ", ".join(f"{rate:g}" for rate in sorted(failing))
    return [
        of_rate(
            (arm.name, other.name),
            sum(ours[key] for key in keys),
            len(keys),
            part=part,
            subject=f"trials of {arm.name} that train at rates at which half or more of {other.name}'s fail ({shown})",
            predicted="higher",
            null=0.5,
            keys=[_key(runs[key]) for key in keys],
            counts=False,
            cautions=("rates chosen by the other arm's failures favour this one",),
        )
    ]


def _key(trial: TrialRecord) -> TrialKey:
    return TrialKey(trial.arm, trial.seed, trial.cell)
