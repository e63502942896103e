"""Alarms: what raises them, and what to do about each."""

from slopewise.recording.alarms._alarm import ADVICE as ADVICE
from slopewise.recording.alarms._alarm import ALARM_IDS as ALARM_IDS
from slopewise.recording.alarms._alarm import Alarm as Alarm
from slopewise.recording.alarms._alarm import AlarmId as AlarmId
from slopewise.recording.alarms._alarm import Thresholds as Thresholds
from slopewise.recording.alarms._judge import Facts as Facts
from slopewise.recording.alarms._judge import Judge as Judge
