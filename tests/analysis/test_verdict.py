import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slopewise.analysis import holm, mean_interval, sign_flip_p, verdict

p_values = st.lists(st.floats(0, 1), min_size=1, max_size=5)


def closure(p: list[float]) -> list[float]:
    """Return Holm's result as the closed test of Bonferroni: an arm is rejected if every group of arms with it is."""
    groups = [g for size in range(1, len(p) + 1) for g in itertools.combinations(range(len(p)), size)]
    return [
        max(min(1.0, len(group) * min(p[j] for j in group)) for group in groups if arm in group)
        for arm in range(len(p))
    ]


@given(p_values)
def test_holm_is_the_closed_bonferroni_test(p):
    assert holm(p).tolist() == pytest.approx(closure(p))


@given(p_values, st.randoms())
def test_holm_ignores_the_order(p, random):
    order = random.sample(range(len(p)), len(p))
    assert holm([p[j] for j in order]).tolist() == holm(p)[order].tolist()


def test_holm_over_the_last_axis():
    p = np.random.default_rng(0).random((2, 3, 4))
    assert holm(p)[1, 2].tolist() == holm(p[1, 2]).tolist()
    assert holm([]).tolist() == []


@pytest.mark.parametrize(
    ("low", "high", "p", "higher", "lower"),
    [
        (0.1, 0.9, 0.05, "helps", "hurts"),
        (-0.9, -0.1, 0.05, "hurts", "helps"),
        (0.1, 0.4, 0.01, "helps", "hurts"),  # shown, though small
        (0.1, 0.9, 0.051, "inconclusive", "inconclusive"),  # the interval alone is not enough
        (-0.1, 0.9, 0.01, "inconclusive", "inconclusive"),  # nor is the p value
        (0.0, 0.9, 0.01, "inconclusive", "inconclusive"),  # 0 is inside
        (0.1, 0.4, 0.9, "no practical effect", "no practical effect"),
        (-0.49, 0.49, 0.9, "no practical effect", "no practical effect"),
        (-0.5, 0.3, 0.9, "inconclusive", "inconclusive"),  # a difference of the margin matters
        (-0.3, 0.5, 0.9, "inconclusive", "inconclusive"),
        (-2.0, 2.0, 1.0, "inconclusive", "inconclusive"),  # a large p value is no evidence of no effect
        (0.0, 0.0, 1.0, "no practical effect", "no practical effect"),
        (math.nan, math.nan, 0.01, "inconclusive", "inconclusive"),
    ],
)
def test_rule(low, high, p, higher, lower):
    assert verdict(low, high, p, margin=0.5, better="higher") == higher
    assert verdict(low, high, p, margin=0.5, better="lower") == lower


@pytest.mark.parametrize("images", [100, 200, 360, 1000, 1797])
def test_rounding_does_not_move_a_difference_across_the_margin(images):
    """Differences of one image, computed from any pair of accuracies, equal a margin of one image."""
    right = np.arange(1, images + 1)
    differences = 100 * (right / images) - 100 * ((right - 1) / images)
    assert len(set(differences)) > 1  # they differ by rounding

    def none(low, high, margin):
        return verdict(low, high, 1.0, margin=margin, better="higher") == "no practical effect"

    assert not none(differences, differences, 100 / images).any()
    assert not none(-differences, -differences, 100 / images).any()
    assert not none(-differences, differences, 100 / images).any()
    assert none(-differences, differences, 100 / (images - 1)).all()


def test_pairs_enough_are_needed_to_claim_no_effect():
    words = verdict([-0.1, -0.1, 0.2], [0.1, 0.1, 0.4], 0.01, margin=0.5, better="higher", enough=[True, False, False])
    assert words.tolist() == ["no practical effect", "inconclusive", "helps"]


@pytest.mark.parametrize(("low", "high"), [(0, 0), (-0.1, 0.1), (math.nan, math.nan)])
def test_no_margin_no_claim_of_no_effect(low, high):
    assert verdict(low, high, 1.0, margin=None, better="higher") == "inconclusive"


def test_element_by_element():
    words = verdict([[0.1], [-0.2]], [[0.9], [0.2]], [[0.01], [0.5]], margin=0.5, better="higher")
    assert words.tolist() == [["helps"], ["no practical effect"]]


@pytest.mark.parametrize("seeds", [8, 10])
@pytest.mark.parametrize("diverge", [0.0, 0.1])
def test_a_a_studies_name_an_arm_at_most_once_in_twenty(seeds, diverge):
    # Four arms that are the control in disguise, and share it. Three standard errors above the promise.
    rng = np.random.default_rng(seeds)
    accuracy = rng.normal(95, 0.4, (2000, 5, seeds))
    accuracy[rng.random(accuracy.shape) < diverge] = 10
    d = accuracy[:, 1:] - accuracy[:, :1]
    words = verdict(*mean_interval(d), holm(sign_flip_p(d)), margin=0.5, better="higher")
    wrong = np.isin(words, ("helps", "hurts")).any(axis=1)
    assert 0 < wrong.mean() <= 0.05 + 3 * (0.05 * 0.95 / 2000) ** 0.5
