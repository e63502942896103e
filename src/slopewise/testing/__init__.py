"""Helpers for people who extend slopewise or test what they build on its records."""

from ._records import synthetic_study as synthetic_study
