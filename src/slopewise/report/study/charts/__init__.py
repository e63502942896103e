"""Charts of a study, drawn from its facts."""

from slopewise.report.study.charts._charts import StudyCharts as StudyCharts
from slopewise.report.study.charts._cost import cost_chart as cost_chart
from slopewise.report.study.charts._curves import curve_chart as curve_chart
from slopewise.report.study.charts._differences import difference_chart as difference_chart
from slopewise.report.study.charts._factors import factor_chart as factor_chart
from slopewise.report.study.charts._gradients import gradient_chart as gradient_chart
from slopewise.report.study.charts._maps import map_charts as map_charts
from slopewise.report.study.charts._slopes import slope_charts as slope_charts
from slopewise.report.study.charts._tuning import tuning_charts as tuning_charts
