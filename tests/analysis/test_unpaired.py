"""Contrasts of runs that are not paired: because the study says so, or because its digests do."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from slopewise.analysis import (
    analyse,
    difference_interval,
    permutation_p,
    seeds_floor,
    seeds_needed,
    sentence,
    smallest_detectable,
)
from slopewise.analysis._power import Design
from slopewise.testing import synthetic_study

VALUES = {"relu": [95.1, 95.3, 94.9, 95.2, 95.0], "elu": [96.0, 96.4, 95.9, 96.3, 96.1, 96.2]}


def test_by_hand(study):
    (contrast,) = analyse(study(VALUES, paired=False)).primary
    arm, control = np.array(VALUES["elu"]), np.array(VALUES["relu"])
    assert (contrast.paired, contrast.seeds, contrast.control_seeds) == (False, (0, 1, 2, 3, 4, 5), (0, 1, 2, 3, 4))
    assert contrast.arm_values == pytest.approx(arm)
    assert (contrast.differences, contrast.correlation) == ((), None)
    assert contrast.difference == pytest.approx(arm.mean() - control.mean())
    assert contrast.p == contrast.p_holm == 1 / math.comb(11, 5)
    assert contrast.sd == pytest.approx(math.sqrt(arm.var(ddof=1) + control.var(ddof=1)))
    assert contrast.interval == pytest.approx([float(end) for end in difference_interval(arm, control)])
    assert (contrast.verdict, contrast.seeds_floor) == ("helps", 4)
    assert (contrast.converged, contrast.control_converged) == (6, 5)
    assert sentence(contrast) == (
        "elu helps: test accuracy +1.05 points against relu (95 % interval +0.81 to +1.29, 6 and 5 runs, Holm p = "
        "0.0022). All 6 and 5 runs trained; divergence of up to 39 % of elu and 45 % of relu is not excluded."
    )


def test_an_arm_of_fewer_runs_lacks_none(study):
    analysis = analyse(study(VALUES, paired=False))
    assert [arm.missing for arm in analysis.arms] == [0, 0]
    assert [arm.missing for arm in analyse(study({name: values[:5] for name, values in VALUES.items()})).arms] == [0, 0]


def test_diverged_runs_count_as_chance_or_as_the_worst(study):
    values = {"relu": [95.1, 95.3, None, 95.2, 95.0], "elu": [96.0, 96.4, 95.9, None, 96.1]}
    analysis = analyse(study(values, paired=False))
    (contrast,), (converged,) = analysis.primary, analysis.converged
    assert contrast.arm_values[3] == contrast.control_values[2] == 10
    assert (contrast.diverged, contrast.control_diverged, contrast.finished, contrast.control_finished) == (1, 1, 5, 5)
    assert (contrast.converged, contrast.control_converged, contrast.both_diverged) == (4, 4, 0)
    assert (converged.seeds, converged.control_seeds) == ((0, 1, 2, 4), (0, 1, 3, 4))
    assert "Of 5 and 5 runs, 1 of elu and 1 of relu diverged; each counts as 10 %." in sentence(contrast)
    below = {"relu": [5.0, 6.0, 7.0, 8.0], "elu": [None, None, None, None]}
    (contrast,) = analyse(study(below, paired=False)).primary
    assert contrast.arm_values == pytest.approx([5.0] * 4)
    assert contrast.difference < 0


def test_two_arms_that_never_train_say_nothing(study):
    (contrast,) = analyse(study({"relu": [None] * 5, "elu": [None] * 5}, paired=False)).primary
    assert (contrast.seeds, contrast.difference, contrast.verdict) == ((), None, "inconclusive")


@pytest.mark.parametrize("digest", ["init_digest", "data_digest"])
def test_arms_that_did_not_start_alike_are_compared_as_unpaired(digest):
    record = synthetic_study(("relu", "elu", "prelu_shared"), seeds=6)
    other = {("elu", 2), ("elu", 4)}
    trials = tuple(replace(t, **{digest: "x"}) if (t.arm, t.seed) in other else t for t in record.trials)
    elu, prelu = analyse(replace(record, trials=trials)).primary
    assert (elu.paired, prelu.paired) == (False, True)
    assert elu.p == permutation_p(elu.arm_values, elu.control_values)
    (caution,) = (item for item in elu.cautions if item.id == "unpaired")
    assert caution.brief == "elu and relu did not start alike in seeds 2, 4, so that no runs are paired"
    assert not [item for item in prelu.cautions if item.id == "unpaired"]
    assert all(not c.paired for c in analyse(replace(record, trials=trials)).secondary if c.arm == "elu")


def test_older_studies_without_digests_stay_paired():
    record = synthetic_study(("relu", "elu"), seeds=6)
    trials = tuple(replace(trial, init_digest=None, data_digest=None) for trial in record.trials)
    analysis = analyse(replace(record, trials=trials))
    assert analysis.primary == analyse(record).primary
    assert (analysis.pairing.checked, analysis.pairing.broken) == (0, ())


def test_swapping_the_arms_swaps_the_sign(study):
    (one,) = analyse(study(VALUES, paired=False)).primary
    (other,) = analyse(study(dict(reversed(VALUES.items())), paired=False)).primary
    assert (other.verdict, other.p) == ("hurts", one.p)
    assert other.difference == -one.difference
    assert other.interval == pytest.approx([-end for end in reversed(one.interval)])


def test_few_runs_are_not_enough_and_the_sentence_says_how_many_are(study):
    (contrast,) = analyse(study({"relu": [90.0, 90.1, 90.2], "elu": [99.0, 99.1, 99.2]}, paired=False)).primary
    assert (contrast.verdict, contrast.can_be_shown, contrast.smallest_detectable) == ("inconclusive", False, None)
    assert (
        "3 and 3 runs cannot show any effect; use at least 4 of each. "
        "At this spread about 4 runs of each, very uncertain, show 0.5 points."
    ) in sentence(contrast)


def test_a_single_run_against_many_has_no_interval(study):
    (contrast,) = analyse(study({"relu": [90 + k / 100 for k in range(30)], "elu": [99.0]}, paired=False)).primary
    assert (contrast.interval, contrast.verdict, contrast.p) == (None, "inconclusive", 1 / 31)
    assert "A single run has no interval, and can show nothing." in sentence(contrast)


def test_unlike_environments_leave_out_times():
    record = synthetic_study(("relu", "elu"), seeds=5)
    record = replace(record, paired=False)
    moved = tuple(replace(t, environment="other") if (t.arm, t.seed) == ("elu", 1) else t for t in record.trials)
    for trials, runs in ((record.trials, 5), (moved, 0)):
        times = [c for c in analyse(replace(record, trials=trials)).secondary if c.metric == "seconds_per_step"]
        assert [len(contrast.seeds) for contrast in times] == [runs]


@given(st.integers(2, 12), st.integers(2, 12), st.integers(0, 2**32 - 1))
def test_the_interval_is_welchs_where_values_are_symmetric(n, m, seed):
    rng = np.random.default_rng(seed)
    # Mirrored about their centres, the samples have no skewness.
    arm, control = (np.concatenate((half, -half, [0.0])) + rng.normal() for half in (rng.random(n), rng.random(m)))
    reference = stats.ttest_ind(arm, control, equal_var=False).confidence_interval(0.95)
    low, high = difference_interval(arm, control)
    assert (low, high) == (pytest.approx(reference.low), pytest.approx(reference.high))


@given(st.integers(2, 12), st.integers(2, 12), st.integers(0, 2**32 - 1))
def test_the_interval_holds_welchs(n, m, seed):
    rng = np.random.default_rng(seed)
    arm, control = rng.standard_exponential(n), rng.standard_exponential(m)
    reference = stats.ttest_ind(arm, control, equal_var=False).confidence_interval(0.95)
    low, high = difference_interval(arm, control)
    assert low <= reference.low + 1e-12
    assert reference.high <= high + 1e-12


def test_the_spread_of_two_arms_is_at_least_that_of_one_step():
    _, high = difference_interval([3.0, 3.0, 3.0, 3.0], [2.0, 2.0, 2.0], resolution=0.2)
    error = 0.2 / math.sqrt(2) * math.sqrt(1 / 4 + 1 / 3)
    freedom = (1 / 4 + 1 / 3) ** 2 / (1 / 16 / 3 + 1 / 9 / 2)
    assert high - 1 == pytest.approx(stats.t.isf(0.025, freedom) * error)
    assert difference_interval([3.0, 3.0], [2.0, 2.0]) == (1.0, 1.0)


def test_an_interval_of_one_value_is_refused():
    with pytest.raises(ValueError, match="at least 2 values of each arm, got 1 and 3"):
        difference_interval([1.0], [1.0, 2.0, 3.0])


@given(st.integers(1, 12))
def test_the_floor_is_the_first_number_of_runs_that_can_show_anything(tests):
    n = seeds_floor(tests, paired=False)
    smallest = [float(permutation_p(10 + np.arange(k), np.arange(k) / 10)) for k in (n, n - 1)]
    assert tests * smallest[0] <= 0.05 < tests * smallest[1]


@given(st.integers(1, 30), st.integers(1, 30))
def test_the_smallest_p_is_that_of_complete_separation(n, m):
    assert Design(n, m).smallest_p == (2 if n == m else 1) / math.comb(n + m, n)


def test_long_tables_have_a_smallest_p():
    assert 0 <= Design(5000, 4000).smallest_p < 1e-300


@pytest.mark.parametrize(("n", "m", "tests"), [(5, 5, 1), (5, 5, 4), (8, 8, 4), (10, 10, 1), (5, 10, 1), (6, 12, 4)])
def test_simulated_power(n, m, tests):
    effect = smallest_detectable(n, 1.0, tests, control=m)
    rng = np.random.default_rng([n, m, tests])
    arm, control = rng.normal(effect, 2**-0.5, (600, n)), rng.normal(0, 2**-0.5, (600, m))
    shown = (tests * permutation_p(arm, control) <= 0.05) & (difference_interval(arm, control)[0] > 0)
    assert 0.68 < shown.mean() < 0.88


def test_runs_needed():
    assert seeds_needed(0.5, 0.6, 4, paired=False) == 18
    assert smallest_detectable(18, 0.6, 4, control=18) <= 0.5 < smallest_detectable(17, 0.6, 4, control=17)
    assert smallest_detectable(1, 0.6, 1, control=100) is None
