import dataclasses
import re

import pytest

from slopewise.analysis import Contrast, sentence

CONTRAST = Contrast(
    arm="elu",
    control="relu",
    metric="test_accuracy",
    title="test accuracy",
    unit="points",
    better="higher",
    digits=2,
    margin=0.5,
    chance=10.0,
    tests=4,
    seeds=tuple(range(10)),
    arm_values=(),
    control_values=(),
    differences=(),
    difference=0.824,
    sd=0.6,
    interval=(0.31, 1.33),
    p=0.002,
    p_holm=0.0078,
    verdict="helps",
    negligible=False,
    correlation=0.3,
    smallest_detectable=0.78,
    seeds_needed=20,
    seeds_floor=8,
    can_be_shown=True,
    converged=10,
    finished=10,
    diverged=0,
    control_diverged=0,
    both_diverged=0,
    divergence_bound=0.2589,
    control_divergence_bound=0.2589,
    censored=0,
)
FIGURES = "test accuracy +0.82 points against relu (95 % interval +0.31 to +1.33, 10 seeds, Holm p = 0.0078)."
UNCLEAR = (
    f"The effect of elu is inconclusive: {FIGURES} "
    "10 seeds show an effect of 0.78 points with 80 % power. At this spread about 20 seeds show 0.5 points."
)
TRAINED = "All 10 seeds trained; divergence of up to 26 % of the trials of either arm is not excluded."


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, f"elu helps: {FIGURES} {TRAINED}"),
        ({"verdict": "hurts"}, f"elu hurts: {FIGURES} {TRAINED}"),
        ({"negligible": True}, f"elu helps: {FIGURES} That is less than the margin of 0.5 points. {TRAINED}"),
        ({"p_holm": 0.0004}, f"elu helps: {FIGURES} {TRAINED}".replace("= 0.0078", "< 0.001")),
        (
            {"verdict": "no practical effect"},
            f"elu has no practical effect: {FIGURES} "
            f"The whole interval lies within the margin of 0.5 points. {TRAINED}",
        ),
        (
            {"verdict": "inconclusive"},
            f"The effect of elu is inconclusive: {FIGURES} "
            "10 seeds show an effect of 0.78 points with 80 % power. At this spread about 20 seeds show 0.5 points.",
        ),
        (
            {"verdict": "inconclusive", "smallest_detectable": 0.4, "seeds_needed": 8},
            f"The effect of elu is inconclusive: {FIGURES} 10 seeds show an effect of 0.40 points with 80 % power.",
        ),
        (
            {"verdict": "inconclusive", "margin": 1e-12, "seeds_needed": None},
            f"The effect of elu is inconclusive: {FIGURES} "
            "10 seeds show an effect of 0.78 points with 80 % power. "
            "At this spread more than 1,000,000 seeds would show 1e-12 points.",
        ),
        (
            {"diverged": 3, "divergence_bound": 0.6066},
            f"elu helps: {FIGURES} Of 10 seeds, 3 of elu diverged; each counts as 10 %; "
            "divergence of up to 61 % of elu and 26 % of relu is not excluded.",
        ),
        (
            {"verdict": "inconclusive", "diverged": 3, "control_diverged": 1, "chance": 100 / 3},
            f"{UNCLEAR} Of 10 seeds, 3 of elu and 1 of relu diverged; each counts as 33.3 %.",
        ),
        (
            {"verdict": "inconclusive", "diverged": 3, "control_diverged": 1, "both_diverged": 1, "finished": 11},
            f"{UNCLEAR} Of 11 seeds, 3 of elu and 1 of relu diverged; each counts as 10 %; the one "
            "in which both did says nothing of accuracy.",
        ),
        (
            {"verdict": "inconclusive", "diverged": 2, "control_diverged": 2, "both_diverged": 2, "finished": 12},
            f"{UNCLEAR} Of 12 seeds, 2 of elu and 2 of relu diverged; the 2 in which both did say nothing of accuracy.",
        ),
        (
            {"diverged": 3, "control_diverged": 1, "chance": None},
            f"elu helps: {FIGURES} Seeds that diverged (3 of elu and 1 of relu) are left out.",
        ),
        (
            {
                "verdict": "inconclusive",
                "seeds": (0, 1, 2),
                "p_holm": 1.0,
                "smallest_detectable": None,
                "seeds_needed": 1234,
                "can_be_shown": False,
            },
            "The effect of elu is inconclusive: test accuracy +0.82 points against relu "
            "(95 % interval +0.31 to +1.33, 3 seeds, Holm p = 1). "
            "The interval excludes 0, but so few seeds cannot reach p ≤ 0.05 after correction over 4 arms, and a "
            "verdict needs both. 3 seeds cannot show any effect; use at least 8. "
            "At this spread about 1,300 seeds, very uncertain, show 0.5 points.",
        ),
        (
            {
                "verdict": "inconclusive",
                "seeds": (4,),
                "difference": -0.001,
                "p_holm": 1.0,
                "sd": None,
                "interval": None,
                "smallest_detectable": None,
                "seeds_needed": None,
                "can_be_shown": False,
            },
            "The effect of elu is inconclusive: test accuracy +0.00 points against relu (1 seed, Holm p = 1). "
            "1 seed cannot show any effect; use at least 8.",
        ),
        (
            {"verdict": "inconclusive", "seeds": tuple(range(7)), "smallest_detectable": None, "seeds_needed": 20},
            f"The effect of elu is inconclusive: {FIGURES.replace('10 seeds', '7 seeds')} "
            "7 seeds can show an effect only once another arm's is shown; use at least 8. "
            "At this spread about 20 seeds, very uncertain, show 0.5 points.",
        ),
        (
            {
                "verdict": "inconclusive",
                "seeds": (),
                "difference": None,
                "p_holm": None,
                "sd": None,
                "interval": None,
                "smallest_detectable": None,
                "seeds_needed": None,
                "chance": None,
                "diverged": 5,
            },
            "The effect of elu is inconclusive: no seed gives both arms a figure for test accuracy. "
            "Seeds that diverged (5 of elu) are left out.",
        ),
        (
            {
                "metric": "steps_to_target",
                "title": "steps to target",
                "unit": "steps",
                "better": "lower",
                "digits": 0,
                "margin": None,
                "chance": None,
                "seeds_needed": None,
                "difference": -120.4,
                "interval": (-200.0, -40.0),
                "censored": 2,
            },
            "elu helps: steps to target -120 steps against relu "
            "(95 % interval -200 to -40, 10 seeds, Holm p = 0.0078). "
            "The target was never reached in 2 of 10 pairs; there one epoch beyond the end counts.",
        ),
    ],
)
def test_sentence(changes, expected):
    assert sentence(dataclasses.replace(CONTRAST, **changes)) == expected


OPEN = {"verdict": "inconclusive", "interval": (0.11, 0.94), "p": 0.02, "p_holm": 0.07}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "The interval excludes 0, but p is above 0.05 after correction over 4 arms, and a verdict needs both."),
        ({"p": 0.06}, "The interval excludes 0, but p is above 0.05, and a verdict needs both."),
        ({"tests": 1, "p": 0.07}, "The interval excludes 0, but p is above 0.05, and a verdict needs both."),
        (
            {"paired": False, "control_seeds": (0,), "seeds": (0, 1)},
            "The interval excludes 0, but so few runs cannot reach p ≤ 0.05 after correction over 4 arms, and a "
            "verdict needs both.",
        ),
        (
            {"interval": (-0.1, 0.94), "p_holm": 0.04},
            "P is at most 0.05, but the interval, which allows for skewness, includes 0.",
        ),
        (
            {"interval": (-0.1, 0.2), "seeds": (0, 1, 2), "p_holm": 1.0},
            "The interval lies within the margin, but so few seeds cannot show that there is no effect.",
        ),
    ],
)
def test_an_open_contrast_says_what_it_lacks_where_its_interval_or_p_seems_to_decide(changes, expected):
    assert expected in sentence(dataclasses.replace(CONTRAST, **(OPEN | changes)))


def test_an_open_contrast_that_lacks_both_needs_no_reason():
    text = sentence(dataclasses.replace(CONTRAST, **(OPEN | {"interval": (-0.1, 0.94)})))
    assert not re.search("interval (excludes|lies)|needs both|skewness", text)
