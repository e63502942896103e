"""Analysis of a study as one JSON object."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from slopewise.analysis import Contrast, analyse, describe, look_words, seeds_of_arms, sentence, tuning
from slopewise.records import ArmCounts, StudyCounts, StudyRecord
from slopewise.report.study._status import status_json
from slopewise.report.study.info._ledger import LedgerInfo, ledger_info


def to_json(study: StudyRecord) -> dict[str, Any]:
    """Return the object of `slopewise run --json`: plain data for strict JSON parsers, without NaN or infinity.

    Keys: `name`, `control`, `metric` (the primary one: name, title, unit, ...), `margin`, `margin_chosen`, `chance`,
    `target` and the scores of `arms` (in the unit of that metric in print: percent or points of accuracy), `seeds`,
    `paired` (False if seeds only number the runs of each arm), `trials` (counts, in all and by arm, and the names of
    damaged ones), `contrasts` (primary, then secondary), `converged` (the primary ones without the pairs in which a
    trial diverged), `missing` (arms and seeds), `pairing`, `diverged` and `failed` (trials), `cautions`, `alarms`,
    `repeats` (trials that were trained twice), `tuning` (`slopewise.analysis.ArmTuning` of each arm whose learning rate
    was tuned), `claims` (all claims, tested or not, with the fields of `slopewise.analysis.claims.Evidence`), `looks`
    (numbers of seeds at the looks of an adaptive study), `data`, `environments`, `spec`. A contrast has the fields of
    `slopewise.analysis.Contrast`, its `sentence`,
    its `description` (`slopewise.analysis.Description`) and, in an adaptive study, `at_look`: the look that decided it,
    or its prospects.

    Example:
        >>> from slopewise.testing import synthetic_study
        >>> [contrast["arm"] for contrast in to_json(synthetic_study(("relu", "elu"), seeds=3))["contrasts"]][:1]
        ['elu']
    """
    analysis = analyse(study)
    due = seeds_of_arms(study, analysis.primary)
    there = {(trial.arm, trial.seed) for trial in study.trials}
    counts = StudyCounts(
        str(study.spec.get("name") or ""),
        tuple(ArmCounts(s.arm, s.finished, s.diverged, s.failed, s.missing) for s in analysis.arms),
        study.damaged,
    )
    result = {
        "name": study.spec.get("name"),
        "control": study.control,
        "metric": asdict(study.primary),
        "margin": study.margin,
        "margin_chosen": study.margin_chosen,
        "seeds": study.seeds,
        "paired": study.paired,
        "looks": study.looks,
        "chance": None if study.primary.chance is None else study.primary.scale * study.primary.chance,
        "trials": status_json(counts),
        "arms": [asdict(summary) for summary in analysis.arms],
        "contrasts": [_contrast(contrast) for contrast in analysis.primary + analysis.secondary],
        "converged": [_contrast(contrast) for contrast in analysis.converged],
        "missing": [
            {"arm": arm, "seed": seed}
            for arm in study.arms
            for seed in study.seeds[: due[arm]]
            if study.paired and (arm, seed) not in there
        ],
        "pairing": asdict(analysis.pairing),
        "target": analysis.target,
        "diverged": [
            {"arm": t.arm, "seed": t.seed, "step": t.diverged_step, "cause": t.diverged_cause}
            for t in study.trials
            if t.diverged
        ],
        "failed": [{"arm": t.arm, "seed": t.seed, "error": t.error} for t in study.trials if t.status == "failed"],
        "cautions": [asdict(caution) for caution in analysis.cautions],
        "alarms": [asdict(alarm) for alarm in analysis.alarms],
        "repeats": [asdict(repeat) for repeat in study.repeats],
        "tuning": [asdict(arm) for arm in tuning(study)],
        "claims": claims_json(ledger_info(study)),
        "data": study.data,
        "environments": study.environments,
        "spec": study.spec,
    }
    return {key: _plain(value) for key, value in result.items()}


def claims_json(info: LedgerInfo) -> list[dict[str, Any]]:
    """Return all claims as plain data (the fields of `Evidence`), in the order of their numbers.

    Example:
        >>> from slopewise.testing import synthetic_study
        >>> entries = claims_json(ledger_info(synthetic_study(("relu", "elu"), seeds=3)))
        >>> entries[0]["claim"], entries[0]["verdict"]
        ('tuned-score', 'not tested')
    """
    entries = [*(claim.evidence for claim in info.tested), *info.untested]
    return [_plain(asdict(entry)) for entry in sorted(entries, key=lambda entry: (entry.number, entry.claim))]


def _contrast(contrast: Contrast) -> dict[str, Any]:
    described = {"description": asdict(describe(contrast)), "at_look": look_words(contrast)}
    return {**asdict(contrast), "sentence": sentence(contrast), **described}


def _plain(value: Any) -> Any:
    """Return a value with lists for tuples, text for keys, and None for NaN and infinities."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
