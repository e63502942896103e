"""Charts of a study, drawn from its facts."""

from slopewise.report.study.charts._charts import StudyCharts as StudyCharts
