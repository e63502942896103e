"""Facts that the views of a watched run show, as plain data computed from its recording: no markup, no colours."""

from slopewise.report.watch.info._maps import UNITS as UNITS
from slopewise.report.watch.info._maps import MapInfo as MapInfo
from slopewise.report.watch.info._maps import thinned as thinned
from slopewise.report.watch.info._maps import watch_maps as watch_maps
from slopewise.report.watch.info._profile import ProfileInfo as ProfileInfo
from slopewise.report.watch.info._profile import profile_info as profile_info
from slopewise.report.watch.info._run import WatchInfo as WatchInfo
from slopewise.report.watch.info._run import watch_info as watch_info
