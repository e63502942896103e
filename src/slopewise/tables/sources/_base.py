"""Contract of the sources that tables are read from.

A source is one file: a class with `matches` and `read`, listed in `_named.py`, or registered by another package with
`register_table_source` or an entry point of the group `slopewise.table_sources`. It only reads. Which columns are arms
and seeds, and what is wrong with their cells, is found by its caller in the same way for all sources.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

from slopewise.tables._table import Table

Take = Literal["last", "best"]


@dataclass(frozen=True, slots=True)
class Request:
    """Metrics and runs that are asked of a source; those of files, which hold one number a cell, ignore it.

    Attributes:
        better: Direction that is an improvement, "higher" or "lower", by metric; its keys are the metrics, primary
            first.
        runs: Pattern of the folders of runs, such as "{arm}/seed{seed}"; None where folders say nothing.
        take: "last" for the value of the last step, "best" for the best of all steps.
    """

    better: dict[str, str] = field(default_factory=dict)
    runs: str | None = None
    take: Take = "last"

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the metrics."""
        return tuple(self.better)

    @property
    def of_folders(self) -> bool:
        """True if something is asked that only folders of runs have."""
        return bool(self.runs) or self.take != "last"

    def pick(self, metric: str, series: list[tuple[float, float]]) -> float:
        """Return the last or the best value of a series of (step, value).

        The best of all steps ignores values that are not finite; a run that has no other is NaN.
        """
        if self.take == "last":
            return max(series, key=lambda point: point[0])[1]
        finite = [value for _, value in series if abs(value) < float("inf")]
        best = max if self.better[metric] == "higher" else min
        return best(finite, default=float("nan"))


class TableSource(ABC):
    """Reader of one kind of file or folder.

    Attributes:
        title: Kind, with the ends of its names, for messages: "CSV (.csv, .tsv)".
        folders: True if it reads folders of runs, so that `Request.runs` and `Request.take` mean something to it.
    """

    title: ClassVar[str]
    folders: ClassVar[bool] = False

    @abstractmethod
    def matches(self, path: Path) -> bool:
        """Return True if the path, which exists, is of this kind; of a large file, look at the name alone."""

    @abstractmethod
    def read(self, path: Path, request: Request) -> Table:
        """Return the table.

        Raises:
            TableError: The file cannot be read; the one line says what is wrong and where.
            ModuleNotFoundError: Its reader is not installed; the message names the extra (`slopewise.support.need`).
        """
