"""Controlled studies: spec -> plan -> trials on an engine -> store."""

from slopewise.study._spec import StudySpec as StudySpec
from slopewise.study._study import Results as Results
from slopewise.study._study import Study as Study
from slopewise.study._study import load_spec as load_spec
