"""A metric of which less is better turns directions around: divergence, target, gap, and what counts as learned."""

import dataclasses

import pytest

from slopewise.analysis import analyse, metrics_of
from slopewise.records import MetricRecord, ScoreRecord, StudyRecord, TrialRecord

ERROR = MetricRecord("mae", "absolute error", "steps", "lower", scale=2.0, digits=1, chance=5.0)
LOSS = MetricRecord("loss", "loss", "nats", "lower")


def trial(arm: str, seed: int, test: float | None, *others: ScoreRecord, **fields: object) -> TrialRecord:
    """Make a finished trial with a test score; None: it diverged."""
    if test is None:
        return TrialRecord(arm, seed, "finished", diverged_step=7, diverged_cause="loss is nan")
    return TrialRecord(arm, seed, "finished", scores=(ScoreRecord(None, "test", "mae", test), *others), **fields)  # type: ignore[arg-type]


def study(relu: list[float | None], elu: list[float | None]) -> StudyRecord:
    trials = [trial(arm, seed, x) for arm, row in (("relu", relu), ("elu", elu)) for seed, x in enumerate(row)]
    seeds = tuple(range(len(relu)))
    return StudyRecord(("relu", "elu"), "relu", seeds, 0.5, (ERROR, LOSS), trials=tuple(trials))


def test_a_diverged_trial_counts_as_chance_and_never_as_better_than_its_partner() -> None:
    (contrast,) = analyse(study([1.0, 8.0, 1.0], [None, None, 2.0])).primary
    assert contrast.arm_values == (10.0, 16.0, 4.0)  # chance is 5 x 2; its partner's 16 is worse than that
    assert contrast.control_values == (2.0, 16.0, 2.0)


def test_smaller_errors_help_and_larger_ones_hurt() -> None:
    good, bad = [1.0 + k / 100 for k in range(8)], [2.0 + k / 90 for k in range(8)]
    assert analyse(study(bad, good)).primary[0].verdict == "helps"
    assert analyse(study(good, bad)).primary[0].verdict == "hurts"


@pytest.mark.parametrize(("error", "untrained"), [(4.9, False), (5.1, True)])
def test_an_error_as_large_as_that_of_guessing_is_no_sign_of_having_learned(error: float, untrained: bool) -> None:
    cautions = analyse(study([error] * 3, [1.0] * 3)).cautions
    assert ("untrained" in [caution.id for caution in cautions]) == untrained


def test_the_target_is_reached_from_above_and_the_gap_is_how_much_worse_the_test_part_is() -> None:
    from slopewise.records import EpochRecord

    metrics = metrics_of(study([1.0], [1.0]))
    rows = [ScoreRecord(k, "validation", "mae", x) for k, x in enumerate([9.0, 3.0, 1.0])]
    epochs = tuple(EpochRecord(k, 20 * k, None, None) for k in range(3))
    one = trial("relu", 0, 2.5, *rows, ScoreRecord(None, "train", "mae", 2.0), epochs=epochs)
    assert metrics["steps_to_target"].measure(one, 3.0) == 20
    assert metrics["generalisation_gap"].measure(one, None) == 1.0
    assert metrics["generalisation_gap"].better == "lower"
    assert metrics["test_mae"].measure(dataclasses.replace(one, scores=()), None) is None
