"""A watched run as plain data, without torch: samples, alarms about them, and the one reader of recordings."""

from slopewise.recording._file import has_header as has_header
from slopewise.recording._file import is_recording as is_recording
from slopewise.recording._file import recording_json as recording_json
from slopewise.recording._plain import from_plain as from_plain
from slopewise.recording._plain import to_plain as to_plain
from slopewise.recording._recording import End as End
from slopewise.recording._recording import Header as Header
from slopewise.recording._recording import Recording as Recording
from slopewise.recording._recording import from_line as from_line
from slopewise.recording._recording import read_recording as read_recording
from slopewise.recording._recording import to_line as to_line
from slopewise.recording._sample import MOST_DROPPED as MOST_DROPPED
from slopewise.recording._sample import LayerSample as LayerSample
from slopewise.recording._sample import Sample as Sample
from slopewise.recording._sample import SiteSample as SiteSample
from slopewise.recording._sample import SlopeSample as SlopeSample
from slopewise.recording._slope_summary import LARGEST as LARGEST
from slopewise.recording._slope_summary import MOST as MOST
from slopewise.recording._slope_summary import NEAR_0 as NEAR_0
from slopewise.recording._slope_summary import NEAR_1 as NEAR_1
from slopewise.recording._slope_summary import SlopeSummary as SlopeSummary
from slopewise.recording.alarms import ADVICE as ADVICE
from slopewise.recording.alarms import ALARM_IDS as ALARM_IDS
from slopewise.recording.alarms import Alarm as Alarm
from slopewise.recording.alarms import AlarmId as AlarmId
from slopewise.recording.alarms import Thresholds as Thresholds
