"""Alarms: one rule for each, over the contract in `AlarmRule`; what all rules say of a run; rules of your own."""

from slopewise.recording.alarms._alarm import Alarm as Alarm
from slopewise.recording.alarms._base import AlarmRule as AlarmRule
from slopewise.recording.alarms._base import Chart as Chart
from slopewise.recording.alarms._base import Concerned as Concerned
from slopewise.recording.alarms._base import Finding as Finding
from slopewise.recording.alarms._base import LayerRule as LayerRule
from slopewise.recording.alarms._base import RunRule as RunRule
from slopewise.recording.alarms._base import SiteRule as SiteRule
from slopewise.recording.alarms._base import SlopeRule as SlopeRule
from slopewise.recording.alarms._base import threshold as threshold
from slopewise.recording.alarms._judge import Judge as Judge
from slopewise.recording.alarms._judge import judge as judge
from slopewise.recording.alarms._past import Facts as Facts
from slopewise.recording.alarms._past import Past as Past
from slopewise.recording.alarms._past import Streak as Streak
from slopewise.recording.alarms._registry import ADVICE as ADVICE
from slopewise.recording.alarms._registry import ALARM_IDS as ALARM_IDS
from slopewise.recording.alarms._registry import AlarmId as AlarmId
from slopewise.recording.alarms._registry import check_declaration as check_declaration
from slopewise.recording.alarms._registry import register as register
from slopewise.recording.alarms._registry import rule_of as rule_of
from slopewise.recording.alarms._registry import rules as rules
from slopewise.recording.alarms._registry import unregister as unregister
from slopewise.recording.alarms._thresholds import Thresholds as Thresholds
from slopewise.recording.alarms._thresholds import threshold_fields as threshold_fields
