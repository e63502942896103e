"""Views of a study, a watched run and a checkpoint, pure functions of plain data: HTML, terminal, JSON.

Each view works in two steps. The first computes what is to be shown from records, recordings or summaries of slopes,
as plain data (`StudyInfo`, `WatchInfo`, `SlopesInfo`); the second draws that with the parts in `slopewise.drawing`. The
offline page and the live page of a view get their variables from one function (`study_context`, `watch_context`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from slopewise.report.study._status import print_status as print_status
from slopewise.report.study._status import status_json as status_json
from slopewise.support import importer

if TYPE_CHECKING:
    from slopewise.report.checkpoint._info import SlopesInfo as SlopesInfo
    from slopewise.report.checkpoint._info import slopes_info as slopes_info
    from slopewise.report.checkpoint._text import print_slopes as print_slopes
    from slopewise.report.study._claims import print_claim as print_claim
    from slopewise.report.study._claims import print_claims as print_claims
    from slopewise.report.study._export import EXPORTS as EXPORTS
    from slopewise.report.study._json import claims_json as claims_json
    from slopewise.report.study._json import to_json as to_json
    from slopewise.report.study._outlook import outlook as outlook
    from slopewise.report.study._page import STUDY_TEMPLATES as STUDY_TEMPLATES
    from slopewise.report.study._page import render_html as render_html
    from slopewise.report.study._page import study_context as study_context
    from slopewise.report.study._page import write_html as write_html
    from slopewise.report.study._paragraph import paper_paragraph as paper_paragraph
    from slopewise.report.study._progress import StudyProgress as StudyProgress
    from slopewise.report.study._text import print_summary as print_summary
    from slopewise.report.study._text import summary_text as summary_text
    from slopewise.report.study.info._ledger import LedgerInfo as LedgerInfo
    from slopewise.report.study.info._ledger import ledger_info as ledger_info
    from slopewise.report.study.info._origin import study_title as study_title
    from slopewise.report.study.info._study import StudyInfo as StudyInfo
    from slopewise.report.study.info._study import study_info as study_info
    from slopewise.report.watch._page import WATCH_TEMPLATES as WATCH_TEMPLATES
    from slopewise.report.watch._page import render_watch_html as render_watch_html
    from slopewise.report.watch._page import watch_context as watch_context
    from slopewise.report.watch._page import write_watch_html as write_watch_html
    from slopewise.report.watch._text import WatchSummary as WatchSummary
    from slopewise.report.watch._text import print_recording as print_recording
    from slopewise.report.watch._text import watch_summary as watch_summary
    from slopewise.report.watch.info import WatchInfo as WatchInfo
    from slopewise.report.watch.info import watch_info as watch_info

# Modules that analyse and draw are imported on first use: a table of counts does not need them.
__getattr__ = importer(
    __name__,
    {
        "checkpoint._info": ("SlopesInfo", "slopes_info"),
        "checkpoint._text": ("print_slopes",),
        "study._claims": ("print_claim", "print_claims"),
        "study._export": ("EXPORTS",),
        "study._json": ("claims_json", "to_json"),
        "study._outlook": ("outlook",),
        "study._page": ("STUDY_TEMPLATES", "render_html", "study_context", "write_html"),
        "study._paragraph": ("paper_paragraph",),
        "study._progress": ("StudyProgress",),
        "study._text": ("print_summary", "summary_text"),
        "study.info._ledger": ("LedgerInfo", "ledger_info"),
        "study.info._origin": ("study_title",),
        "study.info._study": ("StudyInfo", "study_info"),
        "watch._page": ("WATCH_TEMPLATES", "render_watch_html", "watch_context", "write_watch_html"),
        "watch.info": ("WatchInfo", "watch_info"),
        "watch._text": ("WatchSummary", "print_recording", "watch_summary"),
    },
)
