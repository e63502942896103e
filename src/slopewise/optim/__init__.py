"""What an optimizer should do to slopes, and what to the rest: parameter groups, and when slopes learn."""

from __future__ import annotations

from slopewise.modules import slope_name as slope_name
from slopewise.optim._doubts import LARGEST as LARGEST
from slopewise.optim._groups import ParamGroups as ParamGroups
from slopewise.optim._groups import param_groups as param_groups
from slopewise.optim._schedule import SlopeSchedule as SlopeSchedule
from slopewise.optim._schedule import slope_factor as slope_factor
