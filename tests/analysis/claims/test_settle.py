"""Seeds that would decide an open finding: round numbers, as uncertain as they are."""

import pytest

from slopewise.analysis import seeds_needed
from slopewise.analysis._power import Design
from slopewise.analysis.claims import Measured, settle


@pytest.mark.parametrize(
    ("design", "words"),
    [
        (Design(20), "about 1,300 seeds to show a difference of 0.10 points with 80 % power"),
        (Design(7), "about 1,300 seeds, very uncertain, to show a difference of 0.10 points with 80 % power"),
        (Design(20, 7), "about 1,300 runs of each arm, very uncertain, to show a difference of 0.10 points with"),
    ],
)
def test_seeds_are_round_numbers(design, words):
    assert 1_200 < seeds_needed(0.1, 1.26, 1, paired=design.control is None) < 1_300
    figures = {"estimate": 0.05, "interval": (-0.5, 0.6), "p": 0.7, "band": 0.1, "sd": 1.26}
    row = Measured("score", "accuracy", ("relu", "elu"), "higher", "points", 2, **figures, design=design, n=design.arm)
    (finding,) = settle([row])
    assert finding.would_decide.startswith(words)
