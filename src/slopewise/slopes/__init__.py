"""Slopes as numbers: finding them in a state dict, summarising them, and raising alarms about them."""

from slopewise.recording import MOST as MOST
from slopewise.recording import NEAR_0 as NEAR_0
from slopewise.recording import NEAR_1 as NEAR_1
from slopewise.recording import SlopeSummary as SlopeSummary
from slopewise.slopes._find import Certainty as Certainty
from slopewise.slopes._find import FoundLayer as FoundLayer
from slopewise.slopes._find import FoundSlopes as FoundSlopes
from slopewise.slopes._find import find_slopes as find_slopes
from slopewise.slopes._inspect import InspectedLayer as InspectedLayer
from slopewise.slopes._inspect import Inspection as Inspection
from slopewise.slopes._inspect import inspect_slopes as inspect_slopes
from slopewise.slopes._judge import ALARM_KINDS as ALARM_KINDS
from slopewise.slopes._judge import MEANINGS as MEANINGS
from slopewise.slopes._judge import Alarm as Alarm
from slopewise.slopes._judge import AlarmKind as AlarmKind
from slopewise.slopes._judge import alarm_kind as alarm_kind
from slopewise.slopes._judge import alarms as alarms
from slopewise.slopes._judge import summarise as summarise
