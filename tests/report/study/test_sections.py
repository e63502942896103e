"""Pages show the sections whose records there are: of studies so far, of tables, of runs that are not paired."""

from dataclasses import replace

import pyarrow as pa
import pytest

from slopewise.analysis import sentence
from slopewise.report import render_html, study_info, summary_text, to_json
from slopewise.tables import judge
from slopewise.testing import synthetic_study

ALL = ["answer", "seeds", "learning", "slopes", "dead", "time", "secondary", "gradient", "alarms", "trouble"]


def table(**changes):
    arms = {"relu": 0.0, "prelu": 0.4, "elu": 0.0}
    rows = [
        {
            "arm": arm,
            "fold": f"fold {'abcdefgh'[seed]}",
            "psnr": 31 + effect + seed * (7 - seed) / 50 + len(arm) * seed / 90,
        }
        for arm, effect in arms.items()
        for seed in range(8)
    ]
    rows[9]["psnr"] = None
    settings = {"arm": "arm", "seed": "fold", "metric": "psnr", "better": "higher", "control": "relu", "margin": 0.1}
    return judge(pa.Table.from_pylist(rows), **(settings | {"unit": "dB", "floor": 10.0} | changes)).record


def stripped(**kept):
    """Return a study whose trials have lost their parts but these."""
    study = synthetic_study(("relu", "prelu_shared"), seeds=3, epochs=2)
    empty = {"epochs": (), "sites": (), "gradients": (), "operator_costs": (), "alarms": (), "seconds_per_step": None}
    lost = {part: value for part, value in empty.items() if part not in kept}
    return replace(study, trials=tuple(replace(trial, **lost) for trial in study.trials))


SECTIONS = {
    "whole": (lambda: synthetic_study(("relu", "prelu_shared"), seeds=3, epochs=2), ALL),
    "without slopes": (
        lambda: synthetic_study(("relu", "elu"), seeds=3, epochs=2),
        [section for section in ALL if section != "slopes"],
    ),
    "scores alone": (stripped, ["answer", "seeds", "secondary"]),
    "times alone": (lambda: stripped(seconds_per_step=True), ["answer", "seeds", "time", "secondary"]),
    "curves alone": (lambda: stripped(epochs=True), ["answer", "seeds", "learning", "secondary", "trouble"]),
    "no trials": (lambda: replace(stripped(), trials=()), ["answer", "seeds"]),
    "table": (table, ["answer", "seeds", "trouble"]),
    "clean table": (lambda: table(missing=True, floor=None, arms=["relu", "elu"]), ["answer", "seeds"]),
}


@pytest.mark.parametrize(("make", "expected"), SECTIONS.values(), ids=SECTIONS)
def test_a_page_has_the_sections_of_its_records(make, expected, parse):
    study = make()
    page = parse(render_html(study))
    paragraph = ["paragraph"] if study.trials else []
    assert list(study_info(study).sections) == [*expected, *paragraph, "protocol", "glossary"]
    links = [reference for reference in page.references if reference.startswith("#") and "#word-" not in reference]
    assert [link for link in links if link not in ("#trouble", "#main", "#claims") and "trials-" not in link][
        : len(expected)
    ] == [f"#{section}" for section in expected if section != "trouble"] + (
        ["#paragraph"] if "trouble" in expected else []
    )


def test_a_table_is_told_of_as_one(parse):
    study = table()
    text = " ".join(parse(render_html(study)).text.split())
    assert "Pairing: by the table’s column of seeds." in text
    assert "prelu: 1 of 8 seeds (fold b)" in text
    for word in (
        "slopewise run",
        "initial weights and data",
        "test psnr",
        "Step time",
        "Final slopes",
        "PReLU",
        "epoch",
    ):
        assert word not in text, word
    assert sentence(study_info(study).analysis.primary[0]) in text.replace("−", "-")


def test_runs_that_are_not_paired_are_told_of_as_runs(parse):
    study = table(seed=None)
    text = " ".join(parse(render_html(study)).text.split())
    assert "Pairing: none." in text
    assert "3 arms, 24 runs, compared with the control relu on psnr" in text
    assert "Each dot is one run: its psnr minus the mean of the control’s runs." in text
    assert "exact permutation test" in text
    assert "sign-flip" not in text
    assert "Each dot is one seed" not in text
    assert summary_text(study).startswith("psnr in table: 3 arms, 24 runs, control relu, margin 0.1 dB (chosen)")
    assert [contrast["paired"] for contrast in to_json(study)["contrasts"]] == [False, False]


def test_both_designs_on_one_page(parse):
    study = synthetic_study(("relu", "elu", "prelu_shared"), seeds=5, epochs=2)
    trials = [replace(t, init_digest="x") if (t.arm, t.seed) == ("elu", 2) else t for t in study.trials]
    text = " ".join(parse(render_html(replace(study, trials=tuple(trials)))).text.split())
    assert "The pairing is broken in seeds 2" in text
    assert "In the lanes of unpaired arms and of the control, each dot is one run" in text
    assert "sign-flip test, or permutation test of unpaired runs" in text


@pytest.mark.slow
@pytest.mark.parametrize("seed", ["fold", None])
def test_a_table_in_a_browser(visit, tmp_path, seed):
    path = tmp_path / "page.html"
    path.write_text(render_html(table(seed=seed)))
    for width in (1280, 400):
        page = visit(path, width=width)
        assert page.locator(".chart .main-svg").count() >= 1
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.locator("nav a").count() == 6


def test_a_training_function_shows_nothing_of_its_data(parse):
    study = synthetic_study(("relu", "elu"), seeds=3, epochs=2)
    alone = replace(study, trials=tuple(replace(trial, data_digest=None) for trial in study.trials))
    for record, told in ((study, False), (alone, True)):
        text = " ".join(parse(render_html(record)).text.split())
        assert ("is up to the training function, and nothing here shows it" in text) is told
        assert ("see the same batches" in text) is not told
        assert ("checked by the digests of initial weights and data" in text) is not told
