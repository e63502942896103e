"""Helpers for people who extend slopewise or test what they build on its records."""

from ._recordings import synthetic_recording as synthetic_recording
from ._records import replace_score as replace_score
from ._records import synthetic_study as synthetic_study
