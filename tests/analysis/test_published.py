"""Verdicts on printed means: Welch's test of scipy, and laws of the verdict."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, stats

from slopewise.analysis import Published, judge_means
from slopewise.errors import TableError

arms = st.builds(Published, st.floats(50, 99), st.floats(0.05, 5), st.integers(2, 60))


@given(arms, arms)
def test_interval_and_p_are_welchs(arm: Published, control: Published) -> None:
    (sentence,) = judge_means({"relu": control, "elu": arm}, "relu", margin=0.5)
    low, high = (float(end) for end in re.search(r"interval (\S+) to (\S+),", sentence).groups())
    relation, p = re.search(r"Welch's p ([=<]) ([\d.]+), Holm-corrected\)", sentence).groups()
    figures = arm.mean, arm.sd, arm.n, control.mean, control.sd, control.n
    welch = stats.ttest_ind_from_stats(*figures, equal_var=False)
    assert welch.pvalue < 0.001 if relation == "<" else float(p) == pytest.approx(welch.pvalue, rel=0.06)
    middle = arm.mean - control.mean

    def excess(half: float) -> float:  # 0 at the end of the 95 % interval: there Welch's test has p = 0.05
        return stats.ttest_ind_from_stats(half, *figures[1:3], 0.0, *figures[4:], equal_var=False).pvalue - 0.05

    half = optimize.brentq(excess, 1e-6, 1e3)
    assert (low, high) == pytest.approx((middle - half, middle + half), abs=0.06 * half)  # printed with two digits
    shown = sentence.startswith(("elu helps", "elu hurts"))
    assert not shown or (float(p) <= 0.05 and (middle > 0) == sentence.startswith("elu helps"))
    assert not shown or (low >= 0 if middle > 0 else high <= 0)  # an end next to 0 is printed as 0.0
    assert shown or welch.pvalue > 0.045 or min(arm.n, control.n) < 4


def test_too_few_runs_show_nothing_however_small_p_is() -> None:
    (sentence,) = judge_means({"relu": Published(90, 0.1, 3), "elu": Published(95, 0.1, 3)}, "relu", margin=0.5)
    assert sentence.startswith("elu is inconclusive")
    assert "These runs cannot show any effect" in sentence


def test_a_small_difference_of_many_runs_has_no_practical_effect_and_holm_counts_the_arms() -> None:
    one, other = Published(93.0, 0.1, 20), Published(93.01, 0.1, 20)
    assert judge_means({"relu": one, "elu": other}, "relu", margin=0.5)[0].startswith("elu has no practical effect")
    close = Published(93.07, 0.1, 20)
    alone = judge_means({"relu": one, "elu": close}, "relu", margin=0.01)[0]
    beside = judge_means({"relu": one, "elu": close, "silu": other, "gelu": Published(93)}, "relu", margin=0.01)[0]
    assert (alone.split(":")[0], beside.split(":")[0]) == ("elu helps", "elu is inconclusive")
    worse = judge_means({"relu": one, "elu": close}, "relu", margin=0.01, better="lower")[0]
    assert worse.startswith("elu hurts")


@pytest.mark.parametrize("unit", [1e-200, 1e-12, 1e12, 1e200])
def test_the_unit_of_the_means_changes_no_verdict(unit: float) -> None:
    def judged(scale: float) -> str:
        arms = {"relu": Published(scale, 2 * scale, 12), "elu": Published(3 * scale, scale, 9)}
        return judge_means(arms, "relu", margin=scale)[0]

    plain, scaled = judged(1.0), judged(unit)
    assert plain.split(":")[0] == scaled.split(":")[0] == "elu helps"
    p, ends = re.compile(r"Welch's (p .*), Holm"), re.compile(r"interval (\S+) to (\S+),")
    assert p.search(plain)[1] == p.search(scaled)[1]
    assert [float(end) / unit for end in ends.search(scaled).groups()] == pytest.approx(
        [float(end) for end in ends.search(plain).groups()], abs=0.06
    )
    assert len(scaled) < len(plain) + 40


@pytest.mark.parametrize("sd", [5e-324, 1e-200, 1e-17])
def test_a_deviation_that_vanishes_beside_the_means_leaves_the_difference(sd: float) -> None:
    sentence = judge_means({"relu": Published(1, sd, 9), "elu": Published(1.5, sd, 9)}, "relu", margin=0.1)[0]
    assert sentence.startswith("elu helps: +0.5 against relu (95 % interval +0.5 to +0.5, 9 and 9 runs")
    same = judge_means({"relu": Published(1, sd, 9), "elu": Published(1, sd, 9)}, "relu", margin=0.1)[0]
    assert same.startswith("elu has no practical effect")


def test_bare_means_state_the_spread_that_would_have_to_be() -> None:
    (sentence,) = judge_means({"relu": Published(33.82), "prelu": Published(32.64)}, "relu", margin=0.5, unit="points")
    assert "prelu: -1.18 points against relu, and no verdict" in sentence
    runs, spread = re.search(r"(\d+) runs of each would show it if .* at most ([\d.]+) points", sentence).groups()
    judged = {"relu": Published(0, float(spread), int(runs)), "prelu": Published(1.18, float(spread), int(runs))}
    assert judge_means(judged, "relu", margin=0.5)[0].startswith("prelu helps")


@pytest.mark.parametrize(
    ("arms", "margin", "message"),
    [
        ({"relu": Published(1)}, 0.5, "at least one other arm"),
        ({"elu": Published(1), "silu": Published(2)}, 0.5, "the control 'relu'"),
        ({"relu": Published(1), "elu": Published(2)}, 0.0, "the margin must be above 0"),
        ({"relu": Published(1), "elu": Published(math.nan)}, 0.5, "elu: the mean must be a number"),
        ({"relu": Published(1, 0.0, 3), "elu": Published(2)}, 0.5, "relu: the mean .* above 0"),
        ({"relu": Published(1, 0.1, 1), "elu": Published(2)}, 0.5, "at least 2 runs, got 1"),
        ({"relu": Published(1, 0.1, 10**400), "elu": Published(2, 0.1, 3)}, 0.5, "relu: .*at most 1,000,000, got 10"),
        ({"relu": Published(1), "elu": Published(-1e301)}, 0.5, "elu: the mean .* above 1e\\+300"),
        ({"relu": Published(1), " ": Published(2)}, 0.5, "an arm has no name"),
    ],
)
def test_refusals(arms: dict[str, Published], margin: float, message: str) -> None:
    with pytest.raises(TableError, match=message):
        judge_means(arms, "relu", margin=margin)
