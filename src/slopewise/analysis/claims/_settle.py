"""Verdicts: of measured comparisons, as findings, and of a whole claim, from its findings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from slopewise.analysis._about import about
from slopewise.analysis._power import Design, seeds_floor, seeds_needed
from slopewise.analysis._sentence import p_words
from slopewise.analysis._undecided import undecided
from slopewise.analysis._verdict import ALPHA, holm, within
from slopewise.analysis.claims._base import Finding, Outcome, TrialKey
from slopewise.records import amount

Direction = Literal["higher", "lower", "different"]
_NO_VALUES = Design(0)


@dataclass(frozen=True, slots=True)
class Measured:
    """A measured comparison, before its verdict.

    Attributes:
        part, arms, counts, estimate, null, unit, digits, interval, n, basis, trials, measure, values, cautions: As in
            `Finding`.
        subject: Noun phrase that names the figure: "test accuracy of prelu_channel against relu".
        predicted: Side of `null` on which the claim predicts the figure.
        p: Exact p value; 1 without values.
        band: Largest distance from `null` without practical effect; None rules out "no practical effect".
        design: Numbers of values from trials that did not diverge.
        sd: Standard deviation of the values, from which the number of seeds that would decide is estimated.
        able: False if "no practical effect" must not be concluded, because no network learned or both compute the same
            function.
        supports: False if the predicted outcome is no evidence for the claim; a caution then gives the reason.
        looks: Numbers of seeds at the looks of an adaptive study; empty in a fixed study.
        lacking: Sentence that says why there is no figure.
    """

    part: str
    subject: str
    arms: tuple[str, ...]
    predicted: Direction
    unit: str
    digits: int
    estimate: float | None = None
    interval: tuple[float, float] | None = None
    p: float = 1.0
    band: float | None = None
    design: Design = _NO_VALUES
    sd: float | None = None
    n: int = 0
    basis: str = "no seeds"
    null: float = 0.0
    able: bool = True
    supports: bool = True
    counts: bool = True
    looks: tuple[int, ...] = ()
    lacking: str = ""
    trials: tuple[TrialKey, ...] = ()
    measure: str = ""
    values: tuple[float, ...] = ()
    cautions: tuple[str, ...] = ()


def settle(measured: Iterable[Measured | Finding]) -> tuple[Finding, ...]:
    """Return the findings of a claim.

    Holm's correction covers all comparisons that count. Comparisons without values enter it with p = 1, so that an
    unfinished arm or part does not make the verdicts of the others easier. Ready-made findings, usually "not tested",
    are passed through.
    """
    rows = list(measured)
    family = [row for row in rows if isinstance(row, Measured) and row.counts]
    corrected = dict(zip(map(id, family), holm([row.p for row in family]).tolist(), strict=True)) if family else {}
    return tuple(
        row if isinstance(row, Finding) else _finding(row, corrected.get(id(row), row.p), max(len(family), 1))
        for row in rows
    )


def _finding(row: Measured, p: float, tests: int) -> Finding:
    tests = tests if row.counts else 1
    negligible = row.able and row.design.enough(tests) and _inside(row)
    verdict = _verdict(row, p, negligible=negligible)
    return Finding(
        part=row.part,
        verdict=verdict,
        reason=_reason(row, verdict, p, tests, negligible=negligible),
        counts=row.counts,
        arms=row.arms,
        estimate=row.estimate,
        null=row.null,
        unit=row.unit,
        digits=row.digits,
        interval=row.interval,
        band=None if row.band is None else (row.null - row.band, row.null + row.band),
        negligible=negligible,
        n=row.n,
        basis=row.basis,
        p=row.p if row.n else None,
        p_holm=p if row.n else None,
        would_decide=_would_decide(row, tests) if verdict == "inconclusive" else "",
        trials=row.trials,
        measure=row.measure,
        values=row.values,
        cautions=row.cautions,
    )


def _inside(row: Measured) -> bool:
    if row.interval is None:
        return False
    low, high = row.interval
    return bool(within(low - row.null, high - row.null, row.band))


def _verdict(row: Measured, p: float, *, negligible: bool) -> Outcome:
    if row.interval is not None and p <= ALPHA:
        low, high = row.interval
        side = "higher" if low > row.null else "lower" if high < row.null else None
        if side and row.predicted in (side, "different"):
            return "supported" if row.supports else "inconclusive"
        if side:
            return "contradicted"
    return "no practical effect" if negligible else "inconclusive"


def shown(value: float, row: Measured) -> str:
    """Return a value as it is printed; differences get a sign."""
    return f"{value:{'+' if row.null == 0 else ''}z.{row.digits}f}"


def _reason(row: Measured, verdict: Outcome, p: float, tests: int, *, negligible: bool) -> str:
    if row.estimate is None:
        return row.lacking or f"no trial has a value yet for the {row.subject}"
    tail = {
        "supported": "as claimed",
        "contradicted": "the opposite of the claim",
        "no practical effect": "too small to matter",
        "inconclusive": "which is inconclusive",
        "not tested": "",
    }[verdict]
    if verdict == "inconclusive":
        why = undecided(
            row.interval,
            row.p,
            p,
            design=row.design,
            tests=tests,
            null=row.null,
            inside=_inside(row),
            looks=bool(row.looks),
            family="comparisons",
        )
        tail += why and f": {why}"
    figure = amount(shown(row.estimate, row), row.unit)
    within_band = negligible and verdict != "no practical effect"
    ends = "" if row.interval is None else f"95 % interval {' to '.join(shown(end, row) for end in row.interval)}, "
    band = "" if row.band is None else f", less than the {amount(f'{row.band:.{row.digits}f}', row.unit)} that matter"
    corrected = f"{'Holm ' if row.counts else ''}{p_words(p)}"
    return f"{row.subject}: {figure} ({ends}{row.basis}, {corrected}), {tail}{band if within_band else ''}"


def _would_decide(row: Measured, tests: int) -> str:
    paired = row.design.control is None
    unit = "seeds" if paired else "runs of each arm"
    if row.estimate is None:  # a later look may add none either: some figures are not recorded in every training
        return f"{unit} in which all trials of the comparison record this figure"
    if row.looks and row.n < row.looks[-1]:
        return f"more seeds than {row.n}: later looks, of up to {row.looks[-1]}, or a study with a fixed number"
    if row.n and not row.able:
        return "networks that compute different functions, at least one of which learns"
    floor = seeds_floor(tests, paired=paired)
    if row.sd is None or not row.band:
        return f"{floor} {unit} or more" if row.n < floor else f"more than {row.n} {unit}"
    needed = seeds_needed(row.band, row.sd, tests, paired=paired)
    if needed is None:
        return f"more than a million {unit}: the spread of the figure is too large"
    effect = amount(f"{row.band:.{row.digits}f}", row.unit)
    known = row.n if row.design.control is None else min(row.design.arm, row.design.control)
    return (
        f"more than {row.n} {unit}: the interval reaches {effect}"
        if needed <= row.n
        else f"{about(needed, f' {unit}', known=known)} to show a difference of {effect} with 80 % power"
    )


def combined(findings: Sequence[Finding]) -> Outcome:
    """Return the verdict on a claim, combined from the findings that count.

    A part may be tested on several arms. It is supported if at least one arm supports it and none contradicts it,
    contradicted if at least one contradicts it and none supports it, without practical effect if all tested arms find
    none, and else inconclusive. The claim is contradicted if any tested part is, supported or without practical effect
    if all tested parts are, and else inconclusive.

    Example:
        >>> combined([Finding("score", "supported", ""), Finding("time", "inconclusive", "")])
        'inconclusive'
    """
    parts: dict[str, list[Outcome]] = {}
    for finding in findings:
        if finding.counts and finding.verdict != "not tested":
            parts.setdefault(finding.part, []).append(finding.verdict)
    verdicts = {_of_part(outcomes) for outcomes in parts.values()}
    if not verdicts:
        return "not tested"
    if "contradicted" in verdicts:
        return "contradicted"
    return verdicts.pop() if len(verdicts) == 1 else "inconclusive"


def _of_part(outcomes: list[Outcome]) -> Outcome:
    seen = set(outcomes)
    for one, other in (("supported", "contradicted"), ("contradicted", "supported")):
        if one in seen:
            return "inconclusive" if other in seen else one
    return "no practical effect" if seen == {"no practical effect"} else "inconclusive"


def beside(row: Measured) -> Measured:
    """Return the comparison as one that is only reported beside the claim, without a part in its verdict."""
    return replace(row, counts=False)
