"""Thresholds that several rules have: the default and the meaning of each, for `threshold`."""

from slopewise.recording._slope_summary import MOST, NEAR_0, NEAR_1

PATIENCE = (3, "consecutive samples in which the condition must hold")
VALUES = (500, "pre-activations of each unit that these samples must cover: a few of one sign say little")
BAND_0 = (NEAR_0, "largest distance from 0 of a slope that counts as near 0; one further below is negative")
BAND_1 = (NEAR_1, "largest distance from 1 of a slope that counts as near 1; one further above is above 1")
MAJORITY = (MOST, "minimum fraction of a layer's slopes near 0 (or 1)")
