"""Colours of the heat maps of a watched run."""

from __future__ import annotations

from slopewise.drawing import Scale
from slopewise.recording import NEAR_0, NEAR_1

_SHARES = Scale(
    ((0, "calm-0"), (1e-9, "calm-0"), (1e-9, "warm-0"), (0.1, "warm-1"), (1, "warm-2")),
    ((0.1, "10 %"), (0.5, "50 %"), (0.97, "all")),
)
SCALES = {  # by the key of the map
    "dead": _SHARES,
    "zero-gradient": _SHARES,
    "never-positive": Scale(
        ((0, "calm-0"), (1e-9, "calm-0"), (1e-9, "cold-1"), (1, "cold-2")),
        ((0.1, "10 %"), (0.5, "50 %"), (0.97, "all")),
    ),
    "always-positive": _SHARES,
    "slopes": Scale(
        (
            (-1, "cold-2"),
            (-NEAR_0, "cold-1"),
            (-NEAR_0, "calm-0"),
            (1 + NEAR_1, "calm-1"),
            (1 + NEAR_1, "warm-1"),
            (2, "warm-2"),
        ),
        ((-0.55, "negative"), (0, "0"), (1, "1"), (1.55, "above 1")),
    ),
    "distance": Scale(
        ((0, "calm-0"), (0.75, "calm-1"), (0.75, "warm-1"), (2, "warm-2")), ((0, "0"), (0.75, "0.75"), (2, "2"))
    ),
    "signal": Scale(
        ((-3, "cold-2"), (-1, "cold-1"), (-1, "calm-0"), (1, "calm-1")),
        ((-3, "0.001"), (-1.8, "noise"), (-1, "0.1"), (0, "1"), (1, "10")),
        log=True,
    ),
    "slope-updates": Scale(
        ((-3, "cold-2"), (-1.5, "cold-1"), (-1, "calm-0"), (1, "calm-0"), (1.5, "warm-1"), (3, "warm-2")),
        ((-3, "0.001"), (-1.5, "slower"), (0, "1"), (1.5, "faster"), (3, "1000")),
        log=True,
    ),
    "gradients": Scale(
        ((-6, "cold-2"), (-3, "cold-1"), (-3, "calm-0"), (0, "calm-1")),
        ((-6, "1e-6"), (-4.5, "starved"), (-3, "0.001"), (0, "1")),
        log=True,
    ),
    "pass-through": Scale(
        ((0, "cold-2"), (0.3, "cold-1"), (0.6, "calm-0"), (1.05, "calm-1"), (1.05, "warm-1"), (2, "warm-2")),
        ((0, "0"), (0.5, "0.5"), (1, "1"), (2, "2")),
    ),
    "updates": Scale(
        ((-6, "cold-2"), (-4.5, "cold-1"), (-4, "calm-0"), (-2, "calm-0"), (-1.5, "warm-1"), (0, "warm-2")),
        ((-6, "1e-6"), (-4.5, "slow"), (-3, "1e-3"), (-1.5, "fast"), (0, "1")),
        log=True,
    ),
}
