"""Parameter groups that give slopes their own optimizer settings, and schedules of their learning rate."""

from __future__ import annotations

from slopewise.modules import slope_name as slope_name
from slopewise.optim._groups import ParamGroups as ParamGroups
from slopewise.optim._groups import param_groups as param_groups
from slopewise.optim._schedule import SlopeSchedule as SlopeSchedule
from slopewise.optim._schedule import slope_factor as slope_factor
from slopewise.optim._shared import set_shared_gradient as set_shared_gradient
