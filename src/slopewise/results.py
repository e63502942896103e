"""Results of a study: its records, their analysis, and ways to show them.

`Study.run` returns a `Results`, so this room lies below `study`, and above the views that its methods call. Data flow
one way: records are analysed, the analysis is drawn, and neither analysis nor views know of the study that ran.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

from slopewise.analysis import Analysis, Contrast, analyse
from slopewise.analysis.claims import Evidence, ledger
from slopewise.records import StudyRecord


class Results:
    """A study's records and their analysis.

    Attributes:
        record: Records as plain data, see `slopewise.records`.

    Example:
        >>> from slopewise.testing import synthetic_study
        >>> results = Results(synthetic_study(("relu", "elu"), seeds=10, effects={"elu": 2.0}))
        >>> [(contrast.arm, contrast.verdict) for contrast in results.contrasts()][:1]
        [('elu', 'helps')]
    """

    def __init__(self, record: StudyRecord) -> None:
        self.record = record

    @cached_property
    def analysis(self) -> Analysis:
        """Analysis of the records; see docs/statistics.md."""
        return analyse(self.record)

    def contrasts(self) -> tuple[Contrast, ...]:
        """Return the contrasts of the arms with the control: of the primary metric, then of the secondary ones."""
        return self.analysis.primary + self.analysis.secondary

    def claims(self) -> tuple[Evidence, ...]:
        """Return the ledger: the verdict of the study on each claim about PReLU. See docs/claims.md."""
        return self._ledger

    @cached_property
    def _ledger(self) -> tuple[Evidence, ...]:
        return ledger(self.record)

    def report(self, path: str | Path) -> Path:
        """Write the offline HTML page and return its path."""
        from slopewise.report import write_html

        return write_html(self.record, path)

    def to_json(self) -> dict[str, Any]:
        """Return the analysis as one JSON-serialisable object."""
        from slopewise.report import to_json

        return to_json(self.record)

    def __str__(self) -> str:
        from slopewise.report import summary_text

        return summary_text(self.record)
