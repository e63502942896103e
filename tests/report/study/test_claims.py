"""The ledger of claims: on the page, on a terminal, as JSON, and by the command."""

import io
import json
import re
from collections.abc import Sequence
from dataclasses import replace

import pyarrow as pa
import pytest
from rich.console import Console

from slopewise.analysis.claims import Claim, Finding, TrialKey, claims, ledger, register_claim, unregister_claim
from slopewise.records import StudyRecord
from slopewise.report import ledger_info, print_claim, print_claims, render_html, to_json
from slopewise.tables import judge
from slopewise.testing import synthetic_study, with_cells

STUDY = with_cells(
    synthetic_study(("relu", "prelu_shared", "prelu_channel"), seeds=8, epochs=3, diverged={"prelu_shared": 1}),
    lr=[0.05],
    init=[0.25],
    seeds=2,
)


class Planted(Claim):
    """A claim with known findings."""

    id = "planted"
    number = 999
    statement = "A planted claim holds."
    source = "nowhere"
    prediction = "the figure is above 1"
    design = "planted trials"
    toml = "[planted]\nseed = 1"
    statistic = "a planted figure"
    rule = "It is what it is."

    def judge(self, study: StudyRecord, /) -> Sequence[Finding]:
        """Return a supported finding and one beside it, or none without trials."""
        if not study.trials:
            return [self.not_tested("all", "trials")]
        trials = (TrialKey("relu", 0), TrialKey("prelu_shared", 0), TrialKey("relu", 1, "train.lr = 0.05"))
        numbers = {"estimate": 1.5, "null": 1.0, "unit": "times", "interval": (1.2, 1.8), "n": 8, "basis": "8 seeds"}
        return [
            Finding(
                "all",
                "supported",
                "<b>it</b> is 1.5 times as large",
                arms=("prelu_shared", "relu"),
                p=0.01,
                p_holm=0.02,
                trials=trials,
                cautions=("it was planted",),
                **numbers,
            ),
            Finding("aside", "inconclusive", "nothing", counts=False, would_decide="more seeds"),
        ]


@pytest.fixture
def planted():
    claim = register_claim(Planted())
    yield claim
    unregister_claim("planted")


@pytest.mark.usefixtures("planted")
def test_the_page_begins_with_each_tested_claim_its_figures_and_its_trials(parse):
    html = render_html(STUDY)
    text = " ".join(parse(html).text.split())
    assert text.index("What textbooks claim") < text.index("The answer")
    entry = text[text.index("999. A planted claim holds.") :]
    for words in (
        "<b>it</b> is 1.5 times as large.",
        "Caution: it was planted.",
        "Source: nowhere. Predicted: the figure is above 1. Figure: a planted figure. It is what it is.",
        "prelu_shared against relu1.50 times[1.20, 1.80]0.0208 seedssupported",
    ):
        assert words in entry
    table = html[html.index('id="trials-planted"') :]
    rows = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in re.findall(r"<tr>(.*?)</tr>", table)[1:4]]
    accuracy = next(t for t in STUDY.trials if t.arm == "relu" and t.seed == 0).score("test", "accuracy")
    cell = next(t for cell in STUDY.cells for t in cell.trials if t.arm == "relu" and t.seed == 1)
    assert rows == [
        ["relu", "0", "the study’s own", f"{100 * accuracy:.2f} %"],
        ["prelu_shared", "0", "the study’s own", "diverged"],
        ["relu", "1", "train.lr = 0.05", f"{100 * cell.score('test', 'accuracy'):.2f} %"],
    ]


def test_every_claim_is_on_the_page_with_what_it_needs(parse):
    info = ledger_info(STUDY)
    text = " ".join(parse(render_html(STUDY)).text.split())
    assert info.tested
    assert info.untested
    assert {claim.id for claim in claims()} == {
        *(claim.evidence.claim for claim in info.tested),
        *(entry.claim for entry in info.untested),
    }
    for claim in info.tested:
        assert f"{claim.evidence.number}. {claim.evidence.statement}" in text
        assert claim.trials or not claim.evidence.finding.trials
    for entry in info.untested:
        assert f"{entry.statement} Needs {entry.design}." in text


def test_a_study_that_tests_no_claim_has_no_ledger_on_its_page(parse):
    rows = [{"arm": arm, "seed": seed, "psnr": 30 + seed / 7} for arm in ("relu", "elu") for seed in range(6)]
    table = judge(
        pa.Table.from_pylist(rows), arm="arm", seed="seed", metric="psnr", better="higher", control="relu", margin=0.1
    ).record
    for study in (table, synthetic_study(("elu", "silu"), seeds=3, epochs=1)):
        assert not ledger_info(study).tested
        page = parse(render_html(study))
        assert "textbook" not in page.text
        assert "#claims" not in page.references


@pytest.mark.usefixtures("planted")
@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_terminal_lists_every_claim_within_its_width(width):
    stream = io.StringIO()
    print_claims(ledger_info(STUDY), Console(file=stream, width=width))
    text = stream.getvalue()
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    for claim in claims():
        assert claim.id in text.replace("\n", "") or claim.id in re.sub(r"\s+", "", text)
    row = next(line for line in text.splitlines() if line.startswith("999"))
    assert "supported" in row
    assert "1.50 times" in row
    assert row.split()[-2:] == ["8", "seeds"]


@pytest.mark.usefixtures("planted")
def test_the_terminal_shows_one_claim_in_full():
    entries = {claim.evidence.claim: claim.evidence for claim in ledger_info(STUDY).tested}
    stream = io.StringIO()
    print_claim(entries["planted"], Console(file=stream, width=80))
    lines = stream.getvalue().splitlines()
    assert lines[:2] == ["999. A planted claim holds.", "supported"]
    words = " ".join(stream.getvalue().split())
    assert "all: supported <b>it</b> is 1.5 times as large. Caution: it was planted." in words
    assert "aside, beside the claim: inconclusive Nothing. What would decide it: more seeds." in words
    none = next(entry for entry in ledger_info(replace(STUDY, trials=())).untested if entry.claim == "planted")
    stream = io.StringIO()
    print_claim(none, Console(file=stream, width=80))
    assert "\n  [planted]\n  seed = 1\n" in stream.getvalue()


def test_json_has_every_claim_in_order():
    result = json.loads(json.dumps(to_json(STUDY), allow_nan=False))["claims"]
    entries = ledger(STUDY)
    assert [entry["claim"] for entry in result] == [entry.claim for entry in entries]
    for shown, entry in zip(result, entries, strict=True):
        assert shown["verdict"] == entry.verdict
        assert shown["finding"]["reason"] == entry.finding.reason
        assert len(shown["parts"]) == len(entry.parts)


def test_a_claim_is_a_line_that_opens_on_its_trials(browser, tmp_path):
    path = tmp_path / "page.html"
    path.write_text(render_html(STUDY))
    for width in (1280, 390):
        page = browser.new_page(viewport={"width": width, "height": 900})
        page.goto(path.as_uri())
        claim = page.locator(".claims > li").first
        assert claim.bounding_box()["height"] < 120
        target = claim.locator("[id^=trials]")
        assert not target.is_visible()
        claim.locator("summary").first.click()
        assert target.is_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.close()


def test_a_caution_of_several_claims_stands_once_above_them(parse):
    info = ledger_info(STUDY)
    text = " ".join(parse(render_html(STUDY)).text.split())
    assert info.shared
    for caution in info.shared:
        assert len(caution.claims) > 1
        head = text[: text.index("The answer")]
        assert head.count(f"{caution.text}.") == 1
        assert not any(caution.text in claim.own for claim in info.tested)


def test_the_evidence_of_steps_is_steps():
    (claim,) = [claim for claim in ledger_info(STUDY).tested if claim.evidence.claim == "steps-to-target"]
    assert claim.measures == ("steps to target, steps",)
    part = claim.evidence.parts[0]
    steps = {(key.arm, str(key.seed)): f"{value:.0f}" for key, value in zip(part.trials, part.values, strict=True)}
    assert steps
    assert steps.items() <= {(row[0], row[1]): row[-1] for row in claim.trials}.items()
