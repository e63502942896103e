import dataclasses

import pytest

from slopewise.analysis import analyse, metrics_of
from slopewise.testing import synthetic_study

METRICS = metrics_of(synthetic_study(seeds=1))


def test_table():
    better = {key: (metric.unit, metric.better) for key, metric in METRICS.items()}
    assert better == {
        "test_accuracy": ("points", "higher"),
        "steps_to_target": ("steps", "lower"),
        "train_loss": ("nats", "lower"),
        "generalisation_gap": ("points", "lower"),
        "seconds_per_step": ("ms", "lower"),
        "zero_gradient": ("points", "lower"),
    }
    assert all(key == metric.key for key, metric in METRICS.items())


@pytest.mark.parametrize(
    ("key", "value"), [("test_accuracy", 95), ("train_loss", 0.25), ("generalisation_gap", 3), ("seconds_per_step", 20)]
)
def test_final_scores(trial, key, value):
    scores = trial("relu", 0, 95, train_loss=0.25, train_accuracy=0.98, seconds_per_step=0.02)
    assert METRICS[key].measure(scores, None) == pytest.approx(value)
    blank = dataclasses.replace(scores, scores=(), seconds_per_step=None)
    assert METRICS[key].measure(blank, None) is None


@pytest.mark.parametrize(
    ("target", "steps"),
    [(0.05, 0), (0.1, 0), (0.5, 40), (0.8, 40), (0.81, 60), (0.9, 60), (0.91, 80)],  # 80: censored
)
def test_steps_to_target(trial, epoch, target, steps):
    accuracies = [0.1, None, 0.8, 0.9]
    curve = tuple(epoch(k, 20 * k, accuracy) for k, accuracy in enumerate(accuracies))
    assert METRICS["steps_to_target"].measure(trial("relu", 0, 90, epochs=curve), target) == steps


def test_steps_to_target_needs_a_target_and_a_curve(trial, epoch):
    measure = METRICS["steps_to_target"].measure
    assert measure(trial("relu", 0, 90, epochs=(epoch(0, 0, 0.1), epoch(1, 20, 0.9))), None) is None
    assert measure(trial("relu", 0, 90), 0.5) is None
    assert measure(trial("relu", 0, 90, epochs=(epoch(0, 0, 0.1),)), 0.5) is None


def test_target_is_the_controls_median_and_misses_are_counted(study, trial, epoch):
    def run(arm: str, seed: int, accuracies: list[float]):
        curve = tuple(epoch(k, 20 * k, accuracy) for k, accuracy in enumerate(accuracies))
        return trial(arm, seed, 90, steps=20 * (len(curve) - 1), epochs=curve, validation_accuracy=accuracies[-1])

    trials = (
        run("relu", 0, [0.1, 0.5, 0.6]),
        run("relu", 1, [0.1, 0.8, 0.8]),
        run("relu", 2, [0.1, 0.8, 0.9]),
        trial("relu", 3, None),
        run("elu", 0, [0.1, 0.8, 0.9]),
        run("elu", 1, [0.1, 0.5, 0.7]),
        run("elu", 2, [0.8, 0.8, 0.8]),
        run("elu", 3, [0.8, 0.8, 0.8]),
    )
    analysis = analyse(study({"relu": [90] * 4, "elu": [90] * 4}, trials=trials))
    assert analysis.target == pytest.approx(80)
    (steps,) = [contrast for contrast in analysis.secondary if contrast.metric == "steps_to_target"]
    assert steps.control_values == (60, 20, 20)
    assert steps.arm_values == (20, 60, 0)
    assert steps.censored == 2
    assert (steps.verdict, steps.margin, steps.seeds_needed) == ("inconclusive", pytest.approx(5 / 3), 4900)


def test_zero_gradient_weighs_layers_by_their_units_after_the_last_epoch(trial, site):
    sites = (
        site(0, "act1", 10, dead=1.0),
        site(3, "act1", 10, dead=0.8),  # the factory has half of them without gradient: 4 units
        site(3, "act2", 30, dead=0.2),  # 3 units
    )
    assert METRICS["zero_gradient"].measure(trial("relu", 0, 90, sites=sites), None) == pytest.approx(100 * 7 / 40)
    assert METRICS["zero_gradient"].measure(trial("relu", 0, 90), None) is None
