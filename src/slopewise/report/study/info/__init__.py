"""Facts that the views of a study show, as plain data computed from its records: no markup, no colours."""

from slopewise.report.study.info._factors import factor_infos as factor_infos
from slopewise.report.study.info._maps import map_info as map_info
from slopewise.report.study.info._protocol import protocol as protocol
from slopewise.report.study.info._slopes import slope_paths as slope_paths
from slopewise.report.study.info._slopes import slope_table as slope_table
from slopewise.report.study.info._toml import to_toml as to_toml
from slopewise.report.study.info._tuning import tuning_rows as tuning_rows
