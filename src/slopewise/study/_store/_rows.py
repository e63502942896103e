"""Rows of a store as records: what all stores have in common in reading. Texts are bytes, since they may be damaged."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from slopewise.errors import StoreError
from slopewise.records import ArmCounts, RepeatRecord, StudyCounts, StudyRecord, TrialRecord, metrics_in
from slopewise.study._store._packed import seal, unpack
from slopewise.study._store._stored_plan import Key, StoredPlan

Row: TypeAlias = tuple[Any, ...]
REPEAT_COLUMNS = ("arm", "seed", "cell", "record", "equal", "same_identity", "sha256")
LOST = "the list of repeats"


def study_in(rows: Sequence[Row] | None, name: str) -> tuple[dict[str, Any], dict[str, Any], StoredPlan]:
    """Return spec, facts of the data, and plan from the only row of its table: digest, spec, data, plan.

    Args:
        rows: Rows of the table; None if they cannot be read.
        name: Name of the store, for messages.

    Raises:
        StoreError: There is no such row, or it does not match its digest.
    """
    if not rows or seal_of(*rows[0][1:]) != rows[0][0]:
        raise StoreError(
            f"'{name}' has lost what its study was asked, without which its trials cannot be judged: take a copy of it "
            "from before, or move it away and begin anew"
        )
    spec, data, stored = json.loads(rows[0][1]), json.loads(rows[0][2]), rows[0][3]
    return spec, data, StoredPlan.of_file(json.loads(stored)) if stored else StoredPlan.of_spec(spec)


def study_of(
    study: tuple[dict[str, Any], dict[str, Any], StoredPlan],
    rows: Iterable[Row],
    listed: Mapping[Any, Any] | None,
    environments: Iterable[Row] | None,
    repeats: Iterable[Row] | None,
    stored: Row | None = None,
) -> StudyRecord:
    """Return the record of a study; damaged items are left out and named.

    Args:
        study: Spec, facts of the data, and plan.
        rows: Rows of trials: number, cell, and the columns of `_packed.COLUMNS`.
        listed: Independent list of the trials: arm, seed and cell by number; None if it cannot be read.
        environments: Rows of environments: digest, seal, facts.
        repeats: Rows of repeats in the order of `REPEAT_COLUMNS`; None if they cannot be read.
        stored: Earliest and latest time of storing a trial; None if the store has no times.
    """
    spec, data, plan = study
    trials, damaged = _trials(rows, listed, plan.keys(spec))
    facts = {key.decode(): json.loads(text) for key, digest, text in environments or () if seal_of(key, text) == digest}
    used = dict.fromkeys(trial.environment for trial in trials if trial.environment)
    damaged += [f"environment {key}" for key in used if key not in facts]
    read = repeats_of(repeats)
    damaged += [LOST] if read is None else []
    record = make_record(spec, data, facts, trials, damaged, plan, read or ())
    first, last = stored or (None, None)
    return replace(record, stored=(first, last)) if isinstance(first, float) and isinstance(last, float) else record


def repeats_of(rows: Iterable[Row] | None) -> tuple[RepeatRecord, ...] | None:
    """Return the repeats; None if any of them is damaged, since their number is what they tell."""
    if rows is None:
        return None
    repeats = []
    for *fields, digest in rows:
        if seal_of(*fields) != digest:
            return None
        arm, seed, cell, _, equal, same = fields
        repeats.append(RepeatRecord(arm.decode(), seed, cell.decode(), bool(equal), bool(same)))
    return tuple(repeats)


def seal_of(*values: Any) -> bytes:
    """Return the digest of a row's values as the store holds it; b"" for values that no row has."""
    texts = [b"%d" % value if isinstance(value, int) else value for value in values]
    return seal(*texts).encode() if all(text is None or isinstance(text, bytes) for text in texts) else b""


def counts_of(
    spec: Mapping[str, Any],
    plan: StoredPlan,
    counted: Mapping[str, Iterable[int]],
    damaged: tuple[str, ...] = (),
    claimed: int = 0,
) -> StudyCounts:
    """Return the counts of a study from the numbers of finished, diverged and failed trials by arm."""
    arms = []
    for arm in (arm["name"] for arm in spec["arms"]):
        finished, diverged, failed = counted.get(arm, (0, 0, 0))
        arms.append(
            ArmCounts(arm, finished, diverged, failed, missing=max(plan.planned.get(arm, 0) - finished - failed, 0))
        )
    return StudyCounts(str(spec.get("name") or ""), tuple(arms), damaged, plan.most, claimed)


def counted_in(record: StudyRecord) -> dict[str, tuple[int, int, int]]:
    """Return the numbers of finished, diverged and failed trials by arm, counted in records."""
    finished, diverged, failed = Counter[str](), Counter[str](), Counter[str]()
    for trial in record.every_trial:
        finished[trial.arm] += trial.status == "finished"
        diverged[trial.arm] += trial.status == "finished" and trial.diverged
        failed[trial.arm] += trial.status == "failed"
    return {arm: (finished[arm], diverged[arm], failed[arm]) for arm in record.arms}


def make_record(
    spec: dict[str, Any],
    data: dict[str, Any],
    environments: dict[str, dict[str, Any]],
    trials: Iterable[TrialRecord],
    damaged: Iterable[str] = (),
    plan: StoredPlan | None = None,
    repeats: tuple[RepeatRecord, ...] = (),
) -> StudyRecord:
    """Return the record of a study, made from the plain data of its spec and its trials in any order."""
    trials = list(trials)
    own = (trial for trial in trials if not trial.cell)
    adaptive = spec.get("until_decided") or {}
    arms = {arm["name"]: place for place, arm in enumerate(spec["arms"])}
    seeds = {seed: place for place, seed in enumerate(spec["seeds"])}
    metrics, chosen = metrics_in(data), spec.get("margin")
    if (margin := metrics[0].margin if chosen is None else chosen) is None:
        raise StoreError(f"the study has no margin, and its metric {metrics[0].title} has no default: it is damaged")
    recorded = "margin" in spec and "floor" in spec  # earlier versions stored the default as if it were chosen
    return StudyRecord(
        arms=tuple(arms),
        control=spec["control"],
        seeds=tuple(seeds),
        margin=margin,
        margin_chosen=chosen is not None if recorded else None,
        metrics=metrics,
        spec=spec,
        data=data,
        environments=environments,
        trials=tuple(sorted(own, key=lambda trial: (seeds[trial.seed], arms[trial.arm]))),
        damaged=tuple(damaged),
        looks=tuple(adaptive.get("looks") or ()),
        cells=plan.with_trials(trials) if plan else (),
        repeats=repeats,
    )


def _trials(
    rows: Iterable[Row], listed: Mapping[Any, Any] | None, planned: set[Key]
) -> tuple[list[TrialRecord], list[str]]:
    """Return the trials whose digests match, and the names of the others."""
    names = {row: _name(arm, seed, cell, planned) for row, (arm, seed, cell) in (listed or {}).items()}
    trials: dict[Key, TrialRecord] = {}
    damaged: dict[str, None] = {}
    read = set()
    for number, cell, *columns in rows:
        read.add(number)
        trial = trial_in(columns)
        if trial is not None and cell == trial.cell.encode() and (trial.arm, trial.seed, trial.cell) in planned:
            trials[trial.arm, trial.seed, trial.cell] = trial
        else:
            name = names.get(number) or _name(columns[0], columns[1], cell, planned)
            damaged[name or f"the trial in row {number}"] = None
    damaged |= dict.fromkeys(name or f"the trial in row {row}" for row, name in names.items() if row not in read)
    if listed is None and not damaged and len(trials) < len(planned):
        damaged["trials that can no longer be told"] = None
    whole = {_title(*key) for key in trials}
    return list(trials.values()), [name for name in damaged if name not in whole]


def trial_in(columns: Sequence[Any]) -> TrialRecord | None:
    """Return the trial of a row in the order of `_packed.COLUMNS`; None if the row is damaged."""
    try:
        return unpack(columns)
    except (ValueError, TypeError, AttributeError):  # the digest matches, but no version of slopewise writes such a row
        return None


def is_intact(cell: Any, columns: Sequence[Any]) -> bool:
    """Return True if a row holds what its digest says, in the cell that it names."""
    trial = trial_in(columns)
    return trial is not None and cell == trial.cell.encode()


def _name(arm: Any, seed: Any, cell: Any, planned: set[Key]) -> str | None:
    """Return the name of a trial; None if its arm, seed or cell is damaged, too."""
    arm, cell = (text.decode(errors="replace") if isinstance(text, bytes) else text for text in (arm, cell))
    return _title(arm, seed, cell) if (arm, seed, cell) in planned else None


def _title(arm: str, seed: int, cell: str) -> str:
    return f"{arm} seed {seed}{f' with {cell}' if cell else ''}"
