"""The engines of a study, which run its trials. `_base` states the contract of an engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slopewise.study._stopping import request_stop as request_stop
from slopewise.study._stopping import stop_on_signals as stop_on_signals
from slopewise.study._stopping import stop_requested as stop_requested
from slopewise.study._stopping import withdraw_stop as withdraw_stop
from slopewise.study._workplace import TrialData as TrialData
from slopewise.study._workplace import Workplace as Workplace
from slopewise.study.engines._base import GRACE as GRACE
from slopewise.study.engines._base import Begun as Begun
from slopewise.study.engines._base import Claim as Claim
from slopewise.study.engines._base import Engine as Engine
from slopewise.study.engines._base import Lost as Lost
from slopewise.study.engines._base import Report as Report
from slopewise.study.engines._base import Session as Session
from slopewise.study.engines._base import Stopped as Stopped
from slopewise.study.engines._local import LocalEngine as LocalEngine
from slopewise.study.engines._named import make_engine as make_engine
from slopewise.study.engines._named import register_engine as register_engine
from slopewise.study.engines._needs import Needs as Needs
from slopewise.study.engines._option import Option as Option
from slopewise.study.engines._ray import RayEngine as RayEngine
from slopewise.support import importer

if TYPE_CHECKING:
    from slopewise.study.engines._attempt import attempt as attempt

__getattr__ = importer(__name__, {"_attempt": ("attempt",)})  # with torch, which the command line does not wait for
