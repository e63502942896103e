"""Controlled studies: spec -> plan -> trials on an engine -> store."""

from slopewise.study._spec import StudySpec as StudySpec
from slopewise.study._study import Study as Study
from slopewise.study._study import load_spec as load_spec
from slopewise.study._study import read_results as read_results
