"""Conformance kit for claims: checks the contract of `slopewise.analysis.claims.Claim` on records."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, replace

from slopewise.analysis.claims import OUTCOMES, Claim, Evidence, Finding, check_declaration, evidence
from slopewise.records import StudyRecord, TrialRecord
from slopewise.testing._records import synthetic_study


def check_claim(claim: Claim, supporting: StudyRecord, contradicting: StudyRecord | None = None) -> None:
    """Check that a claim keeps its contract.

    The checks are:

    - The class attributes have the form that `Claim` describes.
    - The claim is supported in the first study and contradicted in the second.
    - Studies that are empty, unfinished, without a spec, or full of failed and diverged trials raise no error, and
      leave the claim inconclusive or not tested.
    - A decided finding has a figure, an interval that excludes the null value, and a corrected p value within the
      level.
    - An open finding says what would decide it.
    - Every finding names trials that exist.
    - Equal records give equal findings.
    - The findings can be written as JSON.

    Args:
        claim: Claim to check.
        supporting: Records of a study that supports the claim.
        contradicting: Records of a study that contradicts the claim; None if no records can.

    Raises:
        AssertionError: A check failed; the message says which.

    Example:
        >>> from slopewise.analysis.claims import claim_of
        >>> arms = ("relu", "prelu_channel")
        >>> better, worse = (synthetic_study(arms, effects={"prelu_channel": e}, tuned=True) for e in (3.0, -3.0))
        >>> check_claim(claim_of("tuned-score"), better, worse)
    """
    check_declaration(claim)
    assert claim.number > 0, f"{claim.id}: number must be 1 or more"
    for study, expected in ((supporting, "supported"), (contradicting, "contradicted")):
        if study is None:
            continue
        entry = evidence(claim, study)
        assert entry.verdict == expected, (
            f"{claim.id} is {entry.verdict!r} in a study in which it should be {expected!r}"
        )
        assert entry == evidence(claim, study), f"{claim.id}: the same records give different findings"
        _check(entry, study)
    for name, study in _poor(supporting):
        entry = evidence(claim, study)
        _check(entry, study)
        assert entry.verdict in ("inconclusive", "not tested"), f"{claim.id} is {entry.verdict!r} in {name}"


def _check(entry: Evidence, study: StudyRecord) -> None:
    assert entry.parts, f"{entry.claim}: no finding counts"
    assert entry.verdict in OUTCOMES, f"{entry.claim}: {entry.verdict!r} is not a verdict"
    json.dumps(asdict(entry), allow_nan=False)
    cells = {"": study.trials, **{cell.key: cell.trials for cell in study.cells}}
    keys = {(trial.arm, trial.seed, cell) for cell, trials in cells.items() for trial in trials}
    for finding in (*entry.parts, *entry.also):
        _check_finding(f"{entry.claim}, part {finding.part!r}", finding)
        unknown = [key for key in finding.trials if (key.arm, key.seed, key.cell) not in keys]
        assert not unknown, f"{entry.claim}: {unknown[:2]} are not trials of the study"


def _check_finding(name: str, finding: Finding) -> None:
    assert finding.part.strip(), f"{name}: the part has no name"
    assert finding.verdict in OUTCOMES, f"{name}: {finding.verdict!r} is not a verdict"
    for text in (finding.reason, finding.would_decide, *finding.cautions):
        assert text.isprintable(), f"{name}: {text!r} is not one line"
        assert not text.endswith("."), f"{name}: {text!r} ends with a full stop"
    assert finding.reason, f"{name}: the finding has no reason"
    open_ = finding.verdict in ("inconclusive", "not tested")
    assert finding.would_decide or not open_, f"{name}: the finding is open, but does not say what would decide it"
    if finding.verdict == "not tested":
        assert finding.estimate is None, f"{name}: the finding is not tested, but has a figure"
    if finding.verdict in ("supported", "contradicted"):
        assert finding.estimate is not None, f"{name}: the finding is decided without a figure"
        assert finding.interval is not None, f"{name}: the finding is decided without an interval"
        low, high = finding.interval
        assert not low <= finding.null <= high, (
            f"{name}: the finding is decided, but the interval includes {finding.null}"
        )
        assert finding.p_holm is not None, f"{name}: the finding is decided without a p value"
        assert finding.p_holm <= finding.level, f"{name}: p_holm {finding.p_holm} is above {finding.level}"
    if finding.p is not None and finding.p_holm is not None:
        assert finding.p <= finding.p_holm, f"{name}: p_holm is below p"


def _poor(study: StudyRecord) -> Iterator[tuple[str, StudyRecord]]:
    """Yield the name and the records of studies that can decide nothing."""
    bare = tuple(TrialRecord(trial.arm, trial.seed, "finished", cell=trial.cell) for trial in study.trials)
    yield "a study without trials", _with(study, lambda _: ())
    yield "a study of one seed", _with(study, lambda trials: [t for t in trials if t.seed == trials[0].seed])
    yield "a study of the control", _with(study, lambda trials: [t for t in trials if t.arm == study.control])
    yield "a study of failed trials", _with(study, lambda trials: [_failed(trial) for trial in trials])
    yield "a study of diverged trials", _with(study, lambda trials: [_diverged(trial) for trial in trials])
    yield "a study of records without figures", replace(study, trials=bare, cells=())
    yield "a study without a spec", replace(study, spec={}, cells=())
    yield "a study of one arm without activation", replace(study, spec={"arms": [{"name": study.arms[0]}]}, cells=())
    yield "a study of other activations", synthetic_study(("elu", "silu"), seeds=4)


def _with(study: StudyRecord, change: Callable[[tuple[TrialRecord, ...]], Iterable[TrialRecord]]) -> StudyRecord:
    """Return a study with its trials changed in every cell."""

    def changed(trials: tuple[TrialRecord, ...]) -> tuple[TrialRecord, ...]:
        return tuple(change(trials)) if trials else ()

    cells = tuple(replace(cell, trials=changed(cell.trials)) for cell in study.cells)
    return replace(study, trials=changed(study.trials), cells=cells)


def _failed(trial: TrialRecord) -> TrialRecord:
    return TrialRecord(trial.arm, trial.seed, "failed", error="RuntimeError: worker died", cell=trial.cell)


def _diverged(trial: TrialRecord) -> TrialRecord:
    return TrialRecord(trial.arm, trial.seed, "finished", diverged_step=3, diverged_cause="nan", cell=trial.cell)
