"""Values of the contrasts of an adaptive study, which decides only at planned numbers of seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from slopewise.analysis._intervals import mean_interval
from slopewise.analysis._metrics import Metric
from slopewise.analysis._pairs import Pairs, Runs, pair, runs
from slopewise.analysis._power import Design
from slopewise.analysis._results import Contrast
from slopewise.analysis._sequential import interval_shares, sequential_p
from slopewise.analysis._verdict import ALPHA
from slopewise.records import StudyRecord, TrialRecord


@dataclass(frozen=True, slots=True)
class LookDesign(Design):
    """Number of pairs of an adaptive study at a look.

    Attributes:
        look: Number of seeds of the last completed look; None before the first.
        looks: Numbers of seeds of all planned looks.
        places: Positions of the pairs in the study's order of seeds.
    """

    look: int | None = None
    looks: tuple[int, ...] = ()
    places: tuple[int, ...] = ()

    @property
    def smallest_p(self) -> float:
        """Smallest possible p value after this look, given the missing pairs: the p value of equal differences.

        Example:
            >>> LookDesign(10, look=10, looks=(10, 16, 24, 40), places=tuple(range(10))).smallest_p
            0.03125
        """
        return 1.0 if self.look is None else _smallest_p(self.look, self.looks, self.places)


@dataclass(frozen=True, slots=True)
class LookPairs(Pairs):
    """Pairs of the seeds up to the last completed look; before the first look, all pairs.

    Attributes:
        places: Positions of the pairs in the study's order of seeds.
    """

    places: tuple[int, ...] = ()

    @property
    def design(self) -> Design:
        return LookDesign(len(self.seeds), look=self.look, looks=self.looks, places=self.places)

    def p(self) -> float:
        if self.look is None:
            return 1.0
        return sequential_p(_placed(self.differences, self.places, self.look), self.looks)

    def interval(self, resolution: float) -> tuple[float, float]:
        """Return the repeated confidence interval; the intervals of all looks hold jointly with probability 95 %.

        Its level is 1 - 0.05 * share, where share is the fraction of all seeds that are new at this look
        (`interval_shares`). Before the first look, the share of the first look is used.
        """
        share = interval_shares(self.looks)[0 if self.look is None else self.looks.index(self.look)]
        low, high = mean_interval(self.differences, 1 - ALPHA * share, resolution=resolution)
        return float(low), float(high)


def completed_look(study: StudyRecord, arm: str) -> int | None:
    """Return the number of seeds of the last look that an arm has completed; None before the first look.

    A look is complete when both the arm and its control have a finished or failed trial for each of its seeds.

    Example:
        >>> from slopewise.testing import synthetic_study
        >>> study = synthetic_study(("relu", "elu"), looks=(4, 6, 10))
        >>> completed_look(study, "elu"), completed_look(replace(study, trials=study.trials[:-5]), "elu")
        (10, 4)
    """
    ended = {(trial.arm, trial.seed) for trial in study.trials}
    control = study.control_of(arm)
    both = [(arm, seed) in ended and (control, seed) in ended for seed in study.seeds]
    return max((n for n in study.looks if all(both[:n])), default=None)


def seeds_of_arms(study: StudyRecord, primary: Sequence[Contrast]) -> dict[str, int]:
    """Return the number of seeds that each arm of a study gets, given the verdicts so far.

    In an adaptive study, a decided arm gets no seeds beyond the look that decided it. The control gets as many seeds as
    the arm with the most, and a continuation of the control as many as the arm with the most among those compared with
    it.

    Args:
        study: Records of the study.
        primary: Contrasts of the study's primary metric.

    Example:
        >>> from slopewise.analysis import analyse
        >>> from slopewise.testing import synthetic_study
        >>> study = synthetic_study(("relu", "elu", "gelu"), looks=(10, 16, 40), effects={"elu": 3.0})
        >>> early = replace(study, trials=tuple(trial for trial in study.trials if trial.seed < 16))
        >>> seeds_of_arms(early, analyse(early).primary)
        {'relu': 40, 'elu': 16, 'gelu': 40}
    """
    most = len(study.seeds)
    seeds = {contrast.arm: contrast.look if contrast.look and contrast.decided else most for contrast in primary}
    controls = {arm: {study.control, study.control_of(arm)} for arm in seeds}
    return {
        arm: seeds.get(arm, max((seeds[other] for other in seeds if arm in controls[other]), default=most))
        for arm in study.arms
    }


def pairs_of_look(
    study: StudyRecord,
    arm: str,
    trials: Mapping[str, Mapping[int, TrialRecord]],
    metric: Metric,
    *,
    chance: float | None,
    target: float | None,
) -> LookPairs:
    """Pair an arm's trials with the control's in the seeds of its last completed look; see `pair` for the arguments.

    Seeds beyond that look are left out, because nothing is decided between looks.
    """
    look = completed_look(study, arm)
    seeds = study.seeds[:look]
    one, other = ({s: trials[name][s] for s in seeds if s in trials[name]} for name in (arm, study.control_of(arm)))
    return at_look(study, look, pair(one, other, metric, chance=chance, target=target))


def at_look(study: StudyRecord, look: int | None, pairs: Pairs) -> LookPairs:
    """Return pairs as those of a look of an adaptive study.

    Args:
        study: The study.
        look: Number of seeds of the look; None before the first look.
        pairs: Pairs of the seeds up to the look.
    """
    values = {field.name: getattr(pairs, field.name) for field in fields(pairs)}
    values |= {"decides": look is not None, "look": look, "looks": study.looks}
    return LookPairs(**values, places=tuple(study.seeds.index(seed) for seed in pairs.seeds))


def runs_of_last_look(
    study: StudyRecord,
    arm: str,
    trials: Mapping[str, Mapping[int, TrialRecord]],
    metric: Metric,
    *,
    chance: float | None,
    target: float | None,
) -> Runs:
    """Return the runs of an arm that are not paired with the control's; see `runs` for the arguments.

    The sequential test needs paired differences. For runs, only the last look decides, by the tests of a fixed study.
    """
    look = completed_look(study, arm)
    last = look if look == study.looks[-1] else None
    sample = runs(trials[arm], trials[study.control_of(arm)], metric, chance=chance, target=target)
    return replace(sample, decides=last is not None, look=last, looks=study.looks)


def _placed(differences: tuple[float, ...], places: tuple[int, ...], look: int) -> NDArray[np.float64]:
    values = np.zeros(look)
    values[list(places)] = differences
    return values


@cache
def _smallest_p(look: int, looks: tuple[int, ...], places: tuple[int, ...]) -> float:
    return sequential_p(_placed((1.0,) * len(places), places, look), looks)
