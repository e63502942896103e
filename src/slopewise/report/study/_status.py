"""Progress of a study as a table and as JSON: counts alone, so that neither the analysis nor plotly is imported."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from slopewise.records import StudyCounts
from slopewise.report.study.info._damage import damage_note
from slopewise.support.terminal import words


def print_status(counts: StudyCounts, console: Console) -> None:
    """Print the numbers of finished, diverged, failed and missing trials of each arm, and the damaged trials."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("arm", overflow="fold")
    for column in ("finished", "diverged", "failed", "missing"):
        table.add_column(column, justify="right")
    for arm in counts.arms:
        table.add_row(words(arm.arm), *map(str, (arm.finished, arm.diverged, arm.failed, arm.missing)))
    console.print(table)
    if counts.most is not None and counts.most > counts.planned:
        console.print(words(f"At most {counts.most} trials in all; the actual number depends on the results."))
    if counts.damaged:
        console.print(words(damage_note(counts.damaged), style="bold red"))


def status_json(counts: StudyCounts) -> dict[str, Any]:
    """Return the object of `slopewise status --json`: numbers of trials, in all and by arm, and names of damaged ones.

    Example:
        >>> from slopewise.records import ArmCounts
        >>> status_json(StudyCounts("", (ArmCounts("relu", finished=2, diverged=1, failed=0, missing=3),)))["planned"]
        5
    """
    keys = ("finished", "failed", "diverged", "missing")
    by_arm = {arm.arm: {key: getattr(arm, key) for key in keys} for arm in counts.arms}
    totals = {key: sum(arm[key] for arm in by_arm.values()) for key in keys}
    return {
        "planned": counts.planned,
        "most": counts.most or counts.planned,
        **totals,
        "arms": by_arm,
        "damaged": list(counts.damaged),
    }
