"""The ledger: its order, the verdict of a claim on those of its parts, corrections, bad claims."""

import json
import tomllib
from dataclasses import asdict, replace

import numpy as np
import pytest
from scipy import stats

from slopewise.analysis._power import Design
from slopewise.analysis.claims import (
    Claim,
    Finding,
    Measured,
    claim_of,
    claims,
    combined,
    evidence,
    false_verdicts,
    ledger,
    register_claim,
    settle,
    unregister_claim,
)
from slopewise.errors import ArgumentError
from slopewise.records import StudyRecord, classification_metrics
from slopewise.results import Results
from slopewise.testing import synthetic_study


def finding(verdict, part="one", **fields):
    return Finding(part, verdict, "because", **fields)


def row(p, low, high, *, predicted="higher", **fields):
    return Measured(
        part="one",
        subject="score",
        arms=("a", "b"),
        predicted=predicted,
        unit="points",
        digits=2,
        **{
            "estimate": (low + high) / 2,
            "interval": (low, high),
            "p": p,
            "band": 0.5,
            "design": Design(20),
            "sd": 1.0,
            "n": 20,
            "basis": "20 seeds",
            **fields,
        },
    )


def test_it_has_every_claim_once_in_order_and_is_json():
    study = synthetic_study()
    entries = ledger(study)
    numbers = [entry.number for entry in entries]
    assert numbers == sorted(numbers) == list(range(1, len(numbers) + 1))
    assert [entry.claim for entry in entries] == [claim.id for claim in claims()]
    assert Results(study).claims() == entries
    assert json.loads(json.dumps([asdict(entry) for entry in entries], allow_nan=False))


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ({"one": ["supported", "inconclusive"]}, "supported"),
        ({"one": ["supported", "contradicted"]}, "inconclusive"),
        ({"one": ["contradicted", "no practical effect"]}, "contradicted"),
        ({"one": ["no practical effect", "no practical effect"]}, "no practical effect"),
        ({"one": ["no practical effect", "inconclusive"]}, "inconclusive"),
        ({"one": ["not tested"]}, "not tested"),
        ({"one": ["supported"], "two": ["not tested"]}, "supported"),
        ({"one": ["supported"], "two": ["no practical effect"]}, "inconclusive"),
        ({"one": ["supported"], "two": ["contradicted"]}, "contradicted"),
        ({"one": ["supported"], "two": ["inconclusive", "supported"]}, "supported"),
    ],
)
def test_the_verdict_of_a_claim(verdicts, expected):
    findings = [finding(verdict, part) for part, each in verdicts.items() for verdict in each]
    assert combined(findings) == expected
    aside = finding("contradicted", counts=False)
    assert combined([*findings, aside]) == expected


def test_the_rule_of_a_finding():
    rows = [
        row(0.001, 0.2, 0.9),
        row(0.001, -0.9, -0.2),
        row(0.9, -0.3, 0.4),
        row(0.9, -0.8, 0.7),
        row(0.001, 0.1, 0.3),
        row(0.001, -0.9, -0.2, predicted="different"),
        row(0.001, 0.2, 0.9, supports=False),
        row(0.9, -0.3, 0.4, able=False),
    ]
    findings = settle(rows)
    assert [(each.verdict, each.negligible) for each in findings] == [
        ("supported", False),
        ("contradicted", False),
        ("no practical effect", True),
        ("inconclusive", False),
        ("supported", True),
        ("supported", False),
        ("inconclusive", False),
        ("inconclusive", False),
    ]
    assert all(each.would_decide for each in findings if each.verdict == "inconclusive")
    assert findings[4].reason.endswith("as claimed, less than the 0.50 points that matter")


def test_a_rounded_zero_has_no_sign_and_tiny_p_values_are_a_bound():
    (found,) = settle([row(1e-9, -0.003, -0.001)])
    assert "score: +0.00 points (95 % interval +0.00 to +0.00, 20 seeds, Holm p < 0.001)" in found.reason


def test_corrections_are_holms_over_what_counts():
    rng = np.random.default_rng(0)
    p = rng.uniform(0, 0.1, 5)
    rows = [row(each, 0.1, 0.9) for each in p]
    findings = settle([*rows, row(0.04, 0.1, 0.9, counts=False), finding("not tested")])
    reference = [min(1, max((5 - rank) * q for rank, q in enumerate(sorted(p)) if q <= each)) for each in p]
    assert [each.p_holm for each in findings[:5]] == pytest.approx(reference)
    assert (findings[5].p_holm, findings[5].verdict) == (0.04, "supported")
    assert findings[6] == finding("not tested")


def test_the_ledger_corrects_over_its_tested_claims():
    entries = ledger(synthetic_study(effects={"prelu_channel": 1.0}))
    tested = [entry for entry in entries if entry.p is not None]
    ordered = sorted(tested, key=lambda entry: entry.p)
    smallest = ordered[0]
    assert smallest.p_ledger == pytest.approx(min(1.0, smallest.p * len(tested)))
    assert all(entry.p_ledger is None for entry in entries if entry.p is None)
    assert false_verdicts(entries) == pytest.approx(0.05 * len(tested))
    false_discoveries = stats.false_discovery_control([entry.p for entry in tested])
    assert all(
        q <= entry.p_ledger + 1e-12 for q, entry in zip(false_discoveries, tested, strict=True)
    )  # a stricter one


@pytest.mark.parametrize(
    "study",
    [
        StudyRecord(("relu",), "relu", (0, 1), 0.5, classification_metrics(10)),
        replace(synthetic_study(("a", "b"), seeds=3), spec={"name": "a table"}, tested=False),
        replace(synthetic_study(), trials=()),
    ],
)
def test_nothing_is_tested_without_records(study):
    assert {entry.verdict for entry in ledger(study)} <= {"not tested", "inconclusive"}


def test_a_claim_of_that_name():
    assert claim_of("tuned-score").number == 1
    with pytest.raises(ArgumentError, match=r"unknown claim 'tuned-scor'; did you mean 'tuned-score'\?"):
        claim_of("tuned-scor")


class Fine(Claim):
    id = "fine"
    statement = source = prediction = design = statistic = rule = "text"
    toml = ""

    def judge(self, study, /):
        return [self.not_tested("it", "design")]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"id": "Not Fine"}, "id must be lower-case words with hyphens"),
        ({"rule": ""}, "rule must be one line of text"),
        ({"source": "two\nlines"}, "source must be one line of text"),
        ({"toml": None}, "toml must be lines of a spec"),
        ({"id": "tuned-score"}, "cannot be registered"),
    ],
)
def test_bad_declarations_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        register_claim(type("Bad", (Fine,), fields)())


def test_a_class_is_no_claim():
    with pytest.raises(TypeError, match=r"pass an instance, Fine\(\)"):
        register_claim(Fine)
    with pytest.raises(ValueError, match="nothing is registered as 'fine'"):
        unregister_claim("fine")


def test_what_is_not_tested_says_what_would_test_it():
    entry = evidence(claim_of("tuned-score"), synthetic_study())
    assert entry.verdict == "not tested"
    assert "\n[tune]\n" in entry.finding.toml
    assert entry.finding.would_decide.startswith("a study with learning rates tuned")
    assert [each.counts for each in entry.also] == [False, False]


@pytest.mark.parametrize("claim", claims(), ids=lambda claim: claim.id)
def test_the_lines_of_a_spec_stand_in_their_tables(claim):
    tables = tomllib.loads(claim.toml)
    assert tables.keys() <= {"arms", "tune", "map", "factors", "monitor"}
    assert tables.keys()


def test_a_package_brings_a_claim(tmp_path, monkeypatch):
    (tmp_path / "leaks.py").write_text(
        "from slopewise.analysis.claims import Claim\n"
        "class Leaks(Claim):\n"
        "    id = 'leaks'\n"
        "    statement = source = prediction = design = statistic = rule = 'text'\n"
        "    toml = ''\n"
        "    def judge(self, study, /):\n"
        "        return [self.not_tested('leaks', 'leaky arm')]\n"
        "LEAKS = Leaks()\n"
    )
    info = tmp_path / "leaks-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: leaks\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[slopewise.claims]\nleaks = leaks:LEAKS\n")
    monkeypatch.syspath_prepend(tmp_path)
    try:
        entry = ledger(synthetic_study(("relu",), seeds=2))[-1]
        assert (entry.claim, entry.number, entry.finding.reason) == ("leaks", 1000, "the study has no leaky arm")
    finally:
        unregister_claim("leaks")
