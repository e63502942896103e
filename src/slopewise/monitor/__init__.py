"""Watching what activations, slopes and gradients do while a network trains; the definitions hold for all alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slopewise._lazy import importer
from slopewise.monitor._alarm import ADVICE as ADVICE
from slopewise.monitor._alarm import ALARM_IDS as ALARM_IDS
from slopewise.monitor._alarm import Alarm as Alarm
from slopewise.monitor._alarm import AlarmId as AlarmId
from slopewise.monitor._alarm import Thresholds as Thresholds
from slopewise.monitor._recording import End as End
from slopewise.monitor._recording import Header as Header
from slopewise.monitor._recording import Recording as Recording
from slopewise.monitor._recording import from_line as from_line
from slopewise.monitor._recording import read_recording as read_recording
from slopewise.monitor._recording import to_line as to_line
from slopewise.monitor._sample import LayerSample as LayerSample
from slopewise.monitor._sample import Sample as Sample
from slopewise.monitor._sample import SiteSample as SiteSample
from slopewise.monitor._sample import SlopeSample as SlopeSample

if TYPE_CHECKING:
    from slopewise.monitor import sinks as sinks
    from slopewise.monitor._monitor import Monitor as Monitor
    from slopewise.monitor._monitor import MonitorWarning as MonitorWarning
    from slopewise.monitor._monitor import watch as watch
    from slopewise.monitor._parameters import SlopeStates as SlopeStates
    from slopewise.monitor._parameters import learned_slopes as learned_slopes
    from slopewise.monitor._probe import Probe as Probe
    from slopewise.monitor._tally import UnitStates as UnitStates

# Records and alarms are plain data, which reports read; what watches a network comes with torch, when it is used.
__getattr__ = importer(
    __name__,
    {
        "_monitor": ("Monitor", "MonitorWarning", "watch"),
        "_parameters": ("SlopeStates", "learned_slopes"),
        "_probe": ("Probe",),
        "_tally": ("UnitStates",),
    },
    modules=("sinks",),
)
