"""Controlled studies: spec -> plan -> trials on an engine -> store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slopewise.study._origin import Origin as Origin
from slopewise.study._origin import origin as origin
from slopewise.study._running import Running as Running
from slopewise.study._running import RunningTrial as RunningTrial
from slopewise.study._running import read_running as read_running
from slopewise.study._store import FILE as FILE
from slopewise.study._store import POINTER as POINTER
from slopewise.study._store import holds_study as holds_study
from slopewise.study._store import is_url as is_url
from slopewise.study._store import last_change as last_change
from slopewise.study._store import read_counts as read_counts
from slopewise.study._store import read_study as read_study
from slopewise.support import importer

if TYPE_CHECKING:
    from slopewise.study._checkpoints import Checkpoints as Checkpoints
    from slopewise.study._folders import default_folder as default_folder
    from slopewise.study._function import TrialContext as TrialContext
    from slopewise.study._objective import Objective as Objective
    from slopewise.study._predictor import Prediction as Prediction
    from slopewise.study._predictor import Predictor as Predictor
    from slopewise.study._preflight import preflight as preflight
    from slopewise.study._references import resolve as resolve
    from slopewise.study._spec import DEFAULT_ARMS as DEFAULT_ARMS
    from slopewise.study._spec import StudySpec as StudySpec
    from slopewise.study._spec_input import override as override
    from slopewise.study._spec_input import parse_spec as parse_spec
    from slopewise.study._spec_input import read_spec as read_spec
    from slopewise.study._spec_input import toml_value as toml_value
    from slopewise.study._spec_tables import ArmSpec as ArmSpec
    from slopewise.study._spec_tables import AugmentSpec as AugmentSpec
    from slopewise.study._spec_tables import ConvertSpec as ConvertSpec
    from slopewise.study._spec_tables import DataSpec as DataSpec
    from slopewise.study._spec_tables import HardwareSpec as HardwareSpec
    from slopewise.study._spec_tables import MetricSpec as MetricSpec
    from slopewise.study._spec_tables import ModelSpec as ModelSpec
    from slopewise.study._spec_tables import MonitorSpec as MonitorSpec
    from slopewise.study._spec_tables import TaskSpec as TaskSpec
    from slopewise.study._spec_tables import TrainSpec as TrainSpec
    from slopewise.study._store import Store as Store
    from slopewise.study._store import StoredPlan as StoredPlan
    from slopewise.study._study import Study as Study
    from slopewise.study._study import load_spec as load_spec
    from slopewise.study._study import load_study as load_study
    from slopewise.study._terminable import Terminated as Terminated
    from slopewise.study._trained import kept_weights as kept_weights
    from slopewise.study._trained import load_model as load_model
    from slopewise.study._trained import load_predictor as load_predictor
    from slopewise.study._trial import run_trial as run_trial

# A status counts trials in the file: it does not wait for what validates specs and writes stores.
_NAMES = {
    "_checkpoints": ("Checkpoints",),
    "_folders": ("default_folder",),
    "_function": ("TrialContext",),
    "_objective": ("Objective",),
    "_preflight": ("preflight",),
    "_predictor": ("Prediction", "Predictor"),
    "_references": ("resolve",),
    "_spec": ("DEFAULT_ARMS", "StudySpec"),
    "_spec_tables": (
        "ArmSpec",
        "AugmentSpec",
        "ConvertSpec",
        "DataSpec",
        "HardwareSpec",
        "MetricSpec",
        "ModelSpec",
        "MonitorSpec",
        "TaskSpec",
        "TrainSpec",
    ),
    "_spec_input": ("override", "parse_spec", "read_spec", "toml_value"),
    "_store": ("Store", "StoredPlan"),
    "_study": ("Study", "load_spec", "load_study"),
    "_terminable": ("Terminated",),
    "_trained": ("kept_weights", "load_model", "load_predictor"),
    "_trial": ("run_trial",),
}
__getattr__ = importer(__name__, _NAMES, extras=dict.fromkeys(_NAMES, "study"), renamed={"read_results": "load_study"})
