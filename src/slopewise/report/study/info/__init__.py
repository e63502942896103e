"""Facts that the views of a study show, as plain data computed from its records: no markup, no colours."""

from slopewise.report.study.info._slopes import slope_table as slope_table
from slopewise.report.study.info._toml import to_toml as to_toml
