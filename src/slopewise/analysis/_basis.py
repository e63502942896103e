"""Basis of all contrasts of a study, whatever their metric: its finished trials, and cautions about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from slopewise.analysis._cautions import study_cautions, untrained_arms
from slopewise.analysis._pairing import unlike
from slopewise.analysis._pairs import finished_trials
from slopewise.analysis._results import Caution
from slopewise.records import StudyRecord, TrialRecord


@dataclass(frozen=True, slots=True)
class Basis:
    """Finished trials of a study, and what they say of every metric.

    Attributes:
        trials: Finished trials by arm and seed, from `finished_trials`.
        controls: Control of each arm that has one.
        broken: Seeds in which an arm and its control did not start alike, by arm.
        untrained: Cautions of the arms that did not learn, from `untrained_arms`.
        cautions: Cautions that hold for every contrast, from `study_cautions`.
    """

    trials: dict[str, dict[int, TrialRecord]]
    controls: Mapping[str, str]
    broken: Mapping[str, tuple[int, ...]]
    untrained: Mapping[str, Caution]
    cautions: tuple[Caution, ...]


def basis_of(study: StudyRecord) -> Basis:
    """Return the basis of all contrasts of a study."""
    trials, serving = finished_trials(study), study.controls
    controls = {arm: study.control_of(arm) for arm in study.arms if arm not in serving}
    broken = {arm: unlike(trials[arm], trials[own]) if study.paired else () for arm, own in controls.items()}
    untrained = untrained_arms(study, trials)
    return Basis(trials, controls, broken, untrained, study_cautions(study, trials, untrained))
