"""Ledger of claims on a terminal."""

from __future__ import annotations

from collections.abc import Iterable

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from slopewise.analysis import p_words
from slopewise.analysis.claims import Evidence, Finding
from slopewise.drawing import count, plain
from slopewise.report.study.info._ledger import LedgerInfo, arms_words, ends_words, figure_words, part_words
from slopewise.support import printable
from slopewise.support.terminal import words

_STYLES = {
    "supported": "green",
    "contradicted": "red",
    "no practical effect": "cyan",
    "inconclusive": "yellow",
    "not tested": "dim",
}


def print_claims(info: LedgerInfo, console: Console) -> None:
    """Print the ledger: a table of the tested claims, then the other claims with the design that each needs.

    Args:
        info: The ledger.
        console: Console to print on; 80 columns are enough.
    """
    if info.tested:
        console.print(_table([claim.evidence for claim in info.tested]))
        console.print()
        console.print(words(_by_chance(info)))
    if info.untested:
        if info.tested:
            console.print()
        console.print(words((f"Not tested by this study: {count(len(info.untested), 'claim')}", "bold")))
        rows = Table.grid(padding=(0, 1, 0, 0))
        for entry in info.untested:
            rows.add_row(str(entry.number), words(f"{entry.statement} Needs {entry.design}. ", (entry.claim, "dim")))
        console.print(rows)


def print_claim(entry: Evidence, console: Console) -> None:
    """Print one claim in full: statement, decision rule, findings, and what would decide the open ones."""
    console.print(words((f"{entry.number}. {entry.statement}", "bold")))
    console.print(words((entry.verdict, _STYLES[entry.verdict])))
    console.print()
    facts = Table.grid(padding=(0, 2, 0, 0))
    for name in ("source", "prediction", "design", "statistic", "rule"):
        facts.add_row(name, words(getattr(entry, name)))
    if entry.p_ledger is not None:
        facts.add_row("ledger", f"{p_words(entry.p_ledger)} after correction over all tested claims")
    console.print(facts)
    for finding in (*entry.parts, *entry.also):
        console.print()
        title = finding.part if finding.counts else f"{finding.part}, beside the claim"
        console.print(words((title, "bold"), ": ", (finding.verdict, _STYLES[finding.verdict])))
        for line in finding_lines(finding):
            console.print(words(line))
    if entry.verdict == "not tested" and entry.toml:
        console.print()
        console.print("In the spec:")
        console.print()
        for line in entry.toml.splitlines():
            console.print(words(f"  {line}".rstrip()), soft_wrap=True)


def finding_lines(finding: Finding, cautions: Iterable[str] | None = None) -> list[str]:
    """Return sentences about a finding: its reason, what would decide it, and its cautions, or those given."""
    lines = [f"{finding.reason[0].upper()}{finding.reason[1:]}."]
    if finding.would_decide:
        lines.append(f"What would decide it: {finding.would_decide}.")
    return [*lines, *(f"Caution: {caution}." for caution in (finding.cautions if cautions is None else cautions))]


def _table(entries: Iterable[Evidence]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0), leading=1)
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("claim", overflow="fold", ratio=1)
    table.add_column("verdict", max_width=12)
    table.add_column("figure, [95 %]", justify="right")
    table.add_column("basis", max_width=10)
    for entry in entries:
        finding = entry.finding
        about = f": {', '.join(filter(None, (part_words(entry), arms_words(finding))))}" if finding.arms else ""
        table.add_row(
            str(entry.number),
            words(entry.statement, " ", (f"{entry.claim}{about}", "dim")),
            words((entry.verdict, _STYLES[entry.verdict])),
            _figure(finding),
            words(finding.basis if finding.estimate is not None else ""),
        )
    return table


def _figure(finding: Finding) -> Text:
    """Return the figure and, on a second line, its interval."""
    if finding.estimate is None:
        return Text()
    ends = "" if finding.interval is None else f"\n{ends_words(finding)}"
    return Text(plain(f"{printable(figure_words(finding))}{ends}"))


def _by_chance(info: LedgerInfo) -> str:
    return (
        "Each figure is that of the arm with the smallest p value; slopewise claims DIR --only NAME shows all arms. "
        f"Each claim is decided at the 5 % level by itself: of {len(info.tested)} tested, up to {info.by_chance:.2g} "
        "would be supported or contradicted by chance if there were no effects at all."
    )
