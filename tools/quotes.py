"""Functions with which templates quote the findings of studies' ledgers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from slopewise.analysis.claims import Evidence, Finding
from slopewise.report.study.info._ledger import ends_words, figure_words

SHOWN = "prelu_channel"  # arm that is quoted unless another one is named
_WORDS = {
    "supported": "**shown**",
    "contradicted": "**the opposite is shown**",
    "no practical effect": "**too little to matter**",
    "inconclusive": "**not decided**",
    "not tested": "**not tested**",
}


def speech(ledgers: Mapping[str, Sequence[Evidence]], own: str) -> dict[str, Callable[..., Any]]:
    """Return the functions that templates quote findings with, by claim, beginning of the part's name, arm and study.

    Args:
        ledgers: Entries of the studies' ledgers.
        own: Name of the study that is quoted unless another one is named.
    """
    by_claim = {name: {entry.claim: entry for entry in entries} for name, entries in ledgers.items()}

    def findings(claim: str, part: str = "", arm: str = SHOWN, study: str = own) -> list[Finding]:
        entry = by_claim[study][claim]
        rows = [row for row in (*entry.parts, *(entry.also if part else ())) if row.part.startswith(part)]
        return [finding for finding in rows if finding.arms[:1] == (arm,)] or rows

    def of_last(quote: Callable[[Finding], Any]) -> Callable[..., Any]:
        return lambda *args, **named: quote(findings(*args, **named)[-1])

    def each(*args: str, **named: str) -> str:
        rows = findings(*args, **named)
        return "; ".join(f"`{row.trials[0].cell}` {_says(row)}" if row.trials else _says(row) for row in rows)

    return {
        "part": of_last(lambda finding: finding),
        "verdict": of_last(lambda finding: finding.verdict),
        "figure": of_last(_figure),
        "says": of_last(_says),
        "each": each,
    }


def _figure(finding: Finding) -> str:
    return f"{figure_words(finding)} {ends_words(finding)} ({finding.basis})"


def _says(finding: Finding) -> str:
    return f"{_figure(finding)}: {_WORDS[finding.verdict]}"
