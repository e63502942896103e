"""Controlled studies: spec -> plan -> trials on an engine -> store."""

from slopewise.study._running import Running as Running
from slopewise.study._running import RunningTrial as RunningTrial
from slopewise.study._running import read_running as read_running
from slopewise.study._spec import StudySpec as StudySpec
from slopewise.study._spec_input import override as override
from slopewise.study._spec_input import parse_spec as parse_spec
from slopewise.study._spec_input import read_spec as read_spec
from slopewise.study._spec_input import toml_value as toml_value
from slopewise.study._store import FILE as FILE
from slopewise.study._study import Study as Study
from slopewise.study._study import load_spec as load_spec
from slopewise.study._study import read_results as read_results
from slopewise.study._terminable import Terminated as Terminated
