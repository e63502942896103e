"""From measured comparisons to findings, and from findings to the verdict of a claim."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from slopewise.analysis._power import Design, seeds_floor, seeds_needed
from slopewise.analysis._verdict import ALPHA, holm, within
from slopewise.analysis.claims._base import Finding, Outcome, TrialKey
from slopewise.records import amount

Direction = Literal["higher", "lower", "different"]


@dataclass(frozen=True, slots=True)
class Measured:
    """A comparison before its verdict.

    Attributes:
        part, arms, counts, estimate, null, unit, digits, interval, n, basis, trials, cautions: As in `Finding`.
        subject: Noun phrase that names the figure: "test accuracy of prelu_channel against relu".
        predicted: Side of `null` on which the claim sees the figure.
        p: Exact p value; 1 without values.
        band: Largest distance from `null` that makes no practical difference; None if there is no such distance.
        design: Numbers of values of trials that trained.
        sd: Standard deviation of a value, for the number of seeds that would decide.
        able: False where nothing may be called without effect: the networks did not learn, or are one function.
        supports: False where the predicted outcome is no evidence for the claim, for the reason among the cautions.
        looks: Looks of an adaptive study; empty in a fixed one.
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
    design: Design = Design(0)  # noqa: RUF009 - immutable
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
    cautions: tuple[str, ...] = ()


def settle(measured: Iterable[Measured | Finding]) -> tuple[Finding, ...]:
    """Return the findings of a claim.

    Holm's correction runs over all comparisons that count, those without a value yet with p = 1, so that neither an arm
    nor a part makes another one's verdict easier. Findings that are made already, most often "not tested", are passed
    through.
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
        reason=_reason(row, verdict, p, negligible=negligible),
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
    """Return a value of a comparison in print; differences with their sign."""
    return f"{value:{'+' if row.null == 0 else ''}.{row.digits}f}"


def _reason(row: Measured, verdict: Outcome, p: float, *, negligible: bool) -> str:
    if row.estimate is None:
        return row.lacking or f"no trials have a value for the {row.subject} yet"
    tail = {
        "supported": "as claimed",
        "contradicted": "the opposite of the claim",
        "no practical effect": "too little to matter",
        "inconclusive": "which decides nothing",
        "not tested": "",
    }[verdict]
    if verdict == "inconclusive" and p <= ALPHA and row.supports:
        tail = f"but the interval, which allows for skewness, includes {row.null:g}"
    figure = amount(shown(row.estimate, row), row.unit)
    within_band = negligible and verdict != "no practical effect"
    ends = "" if row.interval is None else f"95 % interval {' to '.join(shown(end, row) for end in row.interval)}, "
    band = "" if row.band is None else f", less than the {amount(f'{row.band:.{row.digits}f}', row.unit)} that matter"
    corrected = "Holm p" if row.counts else "p"
    return f"{row.subject}: {figure} ({ends}{row.basis}, {corrected} = {p:.2g}), {tail}{band if within_band else ''}"


def _would_decide(row: Measured, tests: int) -> str:
    paired = row.design.control is None
    what = "seeds" if paired else "runs of each"
    if row.looks and row.n < row.looks[-1]:
        return f"more seeds than {row.n}: later looks, of up to {row.looks[-1]}, or a study with a fixed number"
    if row.n and not row.able:
        return "networks that differ, and of which at least one learns"
    floor = seeds_floor(tests, paired=paired)
    if row.sd is None or not row.band:
        return f"more {what}: {floor} or more" if row.n < floor else f"more {what} than {row.n}"
    needed = seeds_needed(row.band, row.sd, tests, paired=paired)
    if needed is None:
        return f"more than a million {what}: the spread of the figure is too large"
    effect = amount(f"{row.band:.{row.digits}f}", row.unit)
    if needed <= row.n:
        return f"more {what} than {row.n}: the interval reaches {effect}"
    return f"about {needed} {what}, which would show a difference of {effect} with 80 % power"


def combined(findings: Sequence[Finding]) -> Outcome:
    """Return the verdict of a claim on the verdicts of the findings that count.

    Within a part, which several arms may test: supported if an arm supports it and none contradicts it; contradicted
    the other way round; no practical effect if that is true of all tested arms; else inconclusive. Over the tested
    parts: contradicted if any part is, supported or no practical effect if all are, else inconclusive.
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
    """Return a comparison that is told beside the claim, and does not count for its verdict."""
    return replace(row, counts=False)
