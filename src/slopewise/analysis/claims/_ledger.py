"""The ledger: the verdict of one study on every claim."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from slopewise.analysis._verdict import ALPHA, holm
from slopewise.analysis.claims._base import Claim, Finding, Outcome
from slopewise.analysis.claims._registry import claims
from slopewise.analysis.claims._settle import combined
from slopewise.records import StudyRecord


@dataclass(frozen=True, slots=True)
class Evidence:
    """Entry of the ledger: a claim, and the verdict and findings of one study on it.

    Attributes:
        claim: Id of the claim.
        number, statement, source, prediction, design, toml, statistic, rule: Attributes of the claim, see `Claim`.
        verdict: Verdict on the claim, combined from its parts (`slopewise.analysis.claims.combined`).
        finding: Finding to show where there is room for only one: among those with the claim's verdict, the one with
            the smallest p value.
        parts: Findings that the verdict rests on, one for each part and arm.
        also: Findings reported beside the parts. Their p values are not corrected, and they do not affect the verdict.
        p: Smallest corrected p value of the parts: a valid p value for the hypothesis that no part has an effect. None
            if nothing was tested.
        p_ledger: `p` after Holm's correction over the tested claims of the ledger.
    """

    claim: str
    number: int
    statement: str
    source: str
    prediction: str
    design: str
    toml: str
    statistic: str
    rule: str
    verdict: Outcome
    finding: Finding
    parts: tuple[Finding, ...]
    also: tuple[Finding, ...] = ()
    p: float | None = None
    p_ledger: float | None = None


def ledger(study: StudyRecord) -> tuple[Evidence, ...]:
    """Judge all claims on a study, in the order of their numbers.

    Each claim is decided at the level 0.05 by itself, so that its answer does not depend on which other claims the
    ledger contains. If there is no effect behind any of k tested claims, up to 0.05 * k of them (`false_verdicts`) are
    expected to be "supported" or "contradicted" by chance. Readers who pick the most striking claim should look at
    `p_ledger`, which is corrected for the number of tested claims.

    Example:
        >>> from slopewise.testing import synthetic_study
        >>> entries = ledger(synthetic_study(("relu", "prelu_channel"), effects={"prelu_channel": 2.0}))
        >>> entries[0].claim, entries[0].verdict, entries[0].finding.would_decide[:27]
        ('tuned-score', 'not tested', 'a study with learning rates')
    """
    entries = [evidence(claim, study) for claim in claims()]
    tested = [entry.p for entry in entries if entry.p is not None]
    corrected = iter(holm(tested).tolist() if tested else ())
    return tuple(entry if entry.p is None else replace(entry, p_ledger=next(corrected)) for entry in entries)


def evidence(claim: Claim, study: StudyRecord) -> Evidence:
    """Judge one claim on a study; return it as the entry of a ledger with no other claims."""
    findings = tuple(claim.judge(study))
    parts = tuple(finding for finding in findings if finding.counts)
    verdict = combined(parts)
    p = [part.p_holm for part in parts if part.p_holm is not None]
    smallest = min(p) if p else None
    return Evidence(
        claim=claim.id,
        number=claim.number,
        statement=claim.statement,
        source=claim.source,
        prediction=claim.prediction,
        design=claim.design,
        toml=claim.toml,
        statistic=claim.statistic,
        rule=claim.rule,
        verdict=verdict,
        finding=_headline(parts, verdict),
        parts=parts,
        also=tuple(finding for finding in findings if not finding.counts),
        p=smallest,
        p_ledger=smallest,
    )


def false_verdicts(entries: Iterable[Evidence]) -> float:
    """Return the largest expected number of false "supported" or "contradicted": 0.05 for each tested claim.

    Example:
        >>> from slopewise.testing import synthetic_study
        >>> f"{false_verdicts(ledger(synthetic_study(('elu', 'silu')))):.2f}"
        '0.00'
    """
    return ALPHA * sum(entry.p is not None for entry in entries)


def _headline(parts: tuple[Finding, ...], verdict: Outcome) -> Finding:
    matching = [part for part in parts if part.verdict == verdict] or [*parts]
    return min(matching, key=lambda part: 2.0 if part.p_holm is None else part.p_holm)
