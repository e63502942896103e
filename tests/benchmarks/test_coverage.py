"""The simulation of studies: its verdicts are those of `analyse`, its truths are true, its pages hold its figures."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from slopewise.analysis import analyse
from slopewise.records import ScoreRecord, StudyRecord, TrialRecord, classification_metrics

FOLDER = Path(__file__).parents[2] / "benchmarks"
WORDS = ("helps", "hurts", "no practical effect", "inconclusive")


@pytest.fixture
def benchmark(monkeypatch):
    """The modules of the benchmark, which lie in no package."""
    monkeypatch.syspath_prepend(str(FOLDER))
    import _shapes
    import _statistics_page
    import coverage

    yield coverage, _shapes, _statistics_page
    for name in ("_adaptive", "_shapes", "_statistics_page", "_intervals", "_harness", "coverage"):
        sys.modules.pop(name, None)


@pytest.mark.slow
def test_a_small_run_prints_tables_and_writes_json(tmp_path):
    path = tmp_path / "folder" / "coverage.json"
    run = subprocess.run(
        [sys.executable, "-W", "error", FOLDER / "coverage.py", "--studies", "10", "--json", path],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Coverage of the nominal 95 % interval" in run.stdout
    assert "Largest rates of false verdicts" in run.stdout
    results = json.loads(path.read_text())
    for row in results["verdicts"]:
        assert sum(row[word] for word in WORDS) == pytest.approx(1, abs=1e-3)
        if row["seeds"] == 5:  # below the floor of eight
            assert row["inconclusive"] == 1
    assert {row["shift"] for row in results["runs_verdicts"]} == {-0.5, 0, 0.5}
    assert {row["shift"] for row in results["verdicts"]} == {-1, -0.5, -0.25, 0, 0.25, 0.5, 1}
    for row in results["adaptive"]:
        assert 10 <= row["adaptive"]["seeds"] <= row["fixed"]["seeds"] == 40


NAMES = ["normal", "ceiling 1/100", "bounded", "10 % missing", "10 % diverge in all", "10 % diverge in arms"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("n", [8, 12])
def test_its_verdicts_are_those_of_analyse(benchmark, name, n):
    coverage, shapes, _ = benchmark
    shape = shapes.SHAPES[name]
    arm, control = shape.accuracies(np.random.default_rng(n), 60, 2, n, 0.4)
    arm[0], control[0] = np.nan, np.nan  # a study of which nothing is left
    arm[1, :, 1:], control[1, :, 1:] = np.nan, np.nan  # and one with a single pair
    judged = coverage.judge(shape, arm, control)
    for scores, reference, words in zip(arm, control, judged, strict=True):
        assert [c.verdict for c in analyse(_study(shape, reference[0], scores)).primary] == words.tolist()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("n", "m"), [(5, 5), (6, 9)])
def test_its_verdicts_on_runs_are_those_of_analyse(benchmark, name, n, m):
    coverage, shapes, _ = benchmark
    shape = shapes.SHAPES[name]
    arm, control = shape.runs(np.random.default_rng([n, m]), 60, 2, n, m, 0.6)
    arm[0], control[0] = np.nan, np.nan  # a study of which nothing is left
    arm[1, :, 1:], control[1, :, 1:] = np.inf, np.nan  # and one whose arms have a single run
    judged = coverage.judge_runs(shape, arm, control)
    for scores, reference, words in zip(arm, control, judged, strict=True):
        study = replace(_study(shape, reference[0], scores), paired=False)
        assert [c.verdict for c in analyse(study).primary] == words.tolist()


@pytest.mark.parametrize("name", ["normal", "10 % missing", "10 % diverge in all"])
def test_its_verdicts_at_looks_are_those_of_analyse(benchmark, name):
    """Seeds are given as a study does: at each look to the arms without a verdict, and to the control."""
    coverage, shapes, _ = benchmark
    looks, shape = (10, 16, 24), shapes.SHAPES[name]
    arm, control = shape.accuracies(np.random.default_rng(0), 20, 2, looks[-1], 0.4)
    trained = np.isfinite(arm) & np.isfinite(control)
    judged = coverage.judge_looks(coverage.differences(arm, control), trained, shape.resolution, looks, 0.5)
    for scores, reference, words, seeds in zip(arm, control, *judged, strict=True):
        whole = _study(shape, reference[0], scores)
        there = {(trial.arm, trial.seed) for trial in whole.trials}
        failed = [(a, s) for a in whole.arms for s in whole.seeds if (a, s) not in there]
        trials = (*whole.trials, *(TrialRecord(a, s, "failed") for a, s in failed))
        given, going = {}, {*whole.arms}
        for n in looks:
            given |= dict.fromkeys(going, n)
            part = tuple(trial for trial in trials if trial.seed < given[trial.arm])
            primary = analyse(replace(whole, trials=part, looks=looks)).primary
            going = {contrast.arm for contrast in primary if not contrast.decided} | {"control"}
        assert [contrast.verdict for contrast in primary] == words.tolist()
        assert [given[contrast.arm] for contrast in primary] == seeds.tolist()


def _study(shape, control, arms):
    scores = {"control": control, **{f"arm{k}": row for k, row in enumerate(arms)}}
    trials = tuple(
        TrialRecord(
            arm,
            seed,
            "finished",
            diverged_step=7 if np.isnan(value) else None,
            scores=(
                ScoreRecord(None, "test", "accuracy", None if np.isnan(value) else value / 100),
                ScoreRecord(None, "train", "loss", float(seed + 10 * number)),  # no two arms are one function
            ),
        )
        for number, (arm, row) in enumerate(scores.items())
        for seed, value in enumerate(row)
        if not np.isinf(value)  # missing
    )
    data = {"test_images": shape.images, "classes": [str(k) for k in range(10)]} if shape.images else {}
    metrics = classification_metrics(10)
    return StudyRecord(tuple(scores), "control", tuple(range(len(control))), 0.5, metrics, data=data, trials=trials)


def test_the_pages_hold_the_figures_of_the_results(benchmark):
    """docs/statistics.md and README's table are what the stored results give: a figure cannot be edited alone."""
    _, _, page = benchmark
    for path, text in page.pages(json.loads(page.RESULTS.read_text())).items():
        assert path.read_text() == text, f"{path.name}: run python benchmarks/coverage.py --pages"


def test_a_changed_figure_changes_the_pages(benchmark):
    _, _, page = benchmark
    results = json.loads(page.RESULTS.read_text())
    (row,) = (
        r for r in results["verdicts"] if [r[k] for k in ("shape", "seeds", "shift")] == ["arms skewed", 10, -0.5]
    )
    row["no practical effect"] = 0.4567
    assert all("45.7" in text for text in page.pages(results).values())


def test_the_true_differences_are_true(benchmark):
    _, shapes, _ = benchmark
    rng = np.random.default_rng(0)
    for shape in shapes.SHAPES.values():
        for shift in (-0.5, 0.5):
            arm, control = shape.accuracies(rng, 20_000, 1, 10, shift)
            lost = (np.isnan(arm) & np.isnan(control)) | np.isinf(arm) | np.isinf(control)
            values = [np.where(np.isnan(scores), shapes.CHANCE, scores) for scores in (arm, control)]
            d = values[0][~lost] - values[1][~lost]
            assert d.mean() == pytest.approx(shape.truth(shift), abs=4 * d.std() / np.sqrt(d.size))


def test_the_true_differences_of_runs_are_true(benchmark):
    _, shapes, _ = benchmark
    rng = np.random.default_rng(1)
    for shape in shapes.SHAPES.values():
        for shift in (-0.5, 0.5):
            both = shape.runs(rng, 20_000, 1, 5, 7, shift)
            arm, control = (np.where(np.isnan(v), shapes.CHANCE, v)[~np.isinf(v)] for v in both)
            error = np.sqrt(arm.var() / arm.size + control.var() / control.size)
            assert arm.mean() - control.mean() == pytest.approx(shape.runs_truth(shift), abs=4 * error)
