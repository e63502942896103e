"""Monitoring of activations, slopes and gradients while a network trains, with alarms."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slopewise.errors import MonitorWarning as MonitorWarning
from slopewise.recording import ADVICE as ADVICE
from slopewise.recording import ALARM_IDS as ALARM_IDS
from slopewise.recording import Alarm as Alarm
from slopewise.recording import AlarmId as AlarmId
from slopewise.recording import End as End
from slopewise.recording import Header as Header
from slopewise.recording import LayerSample as LayerSample
from slopewise.recording import Recording as Recording
from slopewise.recording import Sample as Sample
from slopewise.recording import SiteSample as SiteSample
from slopewise.recording import SlopeSample as SlopeSample
from slopewise.recording import Thresholds as Thresholds
from slopewise.recording import from_line as from_line
from slopewise.recording import read_recording as read_recording
from slopewise.recording import to_line as to_line
from slopewise.support import importer

if TYPE_CHECKING:
    from slopewise.modules import learned_slopes as learned_slopes
    from slopewise.monitor import sinks as sinks
    from slopewise.monitor._monitor import Monitor as Monitor
    from slopewise.monitor._probe import Probe as Probe
    from slopewise.monitor._slopes import SlopeStates as SlopeStates
    from slopewise.monitor._tally import UnitStates as UnitStates
    from slopewise.monitor._watch import watch as watch

# Records and alarms are plain data, which reports read; what watches a network comes with torch, when it is used.
__getattr__ = importer(
    __name__,
    {
        "_monitor": ("Monitor",),
        "_parameters": ("learned_slopes",),
        "_probe": ("Probe",),
        "_slopes": ("SlopeStates",),
        "_tally": ("UnitStates",),
        "_watch": ("watch",),
    },
    modules=("sinks",),
)
