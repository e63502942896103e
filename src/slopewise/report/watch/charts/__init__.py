"""Charts of a watched run, drawn from its facts."""

from slopewise.report.watch.charts._scales import SCALES as SCALES
from slopewise.report.watch.charts._sections import Section as Section
from slopewise.report.watch.charts._sections import watch_charts as watch_charts
