"""Helpers for people who extend slopewise or test what they build on its records."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slopewise.records import untimed as untimed
from slopewise.support import importer
from slopewise.testing._cells import with_cells as with_cells
from slopewise.testing._recordings import synthetic_recording as synthetic_recording
from slopewise.testing._records import replace_score as replace_score
from slopewise.testing._records import synthetic_study as synthetic_study

if TYPE_CHECKING:
    from slopewise.testing._alarms import check_alarm_rule as check_alarm_rule
    from slopewise.testing._claims import check_claim as check_claim
    from slopewise.testing._engines import check_engine as check_engine
    from slopewise.testing._exporters import check_exporter as check_exporter
    from slopewise.testing._in_process import InProcessEngine as InProcessEngine
    from slopewise.testing._sources import check_data_source as check_data_source
    from slopewise.testing._stores import check_store as check_store
    from slopewise.testing._tables import check_table_source as check_table_source
    from slopewise.testing._tasks import check_task as check_task

# Conformance kits need torch and the rooms that they check; synthetic records need neither.
_KITS = {
    "_alarms": ("check_alarm_rule",),
    "_claims": ("check_claim",),
    "_engines": ("check_engine",),
    "_in_process": ("InProcessEngine",),
    "_exporters": ("check_exporter",),
    "_sources": ("check_data_source",),
    "_stores": ("check_store",),
    "_tables": ("check_table_source",),
    "_tasks": ("check_task",),
}
__getattr__ = importer(__name__, _KITS)
