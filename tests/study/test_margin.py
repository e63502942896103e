"""Margin and floor of a study: chosen or the metric's own, kept when it is resumed, and shown with the results."""

from dataclasses import replace
from pathlib import Path

import pytest

from slopewise.analysis import analyse
from slopewise.errors import SpecError, StoreError
from slopewise.records import MetricRecord, StudyRecord, classification_metrics
from slopewise.report import render_html, summary_text, to_json
from slopewise.study import Store, Study, StudySpec, preflight, read_study
from slopewise.study.tasks import TASKS, Classification, register_task
from slopewise.testing import synthetic_study

from .stores import edit_spec

SMALL = {"arms": "relu,elu", "seeds": 1, "data": {"train_size": 100}, "train": {"epochs": 1}}


class WithoutDefault(Classification):
    """Classification whose metric has neither a default margin nor a chance."""

    def metrics(self, data):  # type: ignore[no-untyped-def]
        return (replace(super().metrics(data)[0], unit="parts", scale=1.0, margin=None, chance=None),)


@pytest.fixture
def without_default():  # type: ignore[no-untyped-def]
    register_task("without-default", WithoutDefault)
    yield {**SMALL, "task": {"kind": "without-default"}}
    TASKS.unregister("without-default")


def test_a_margin_without_a_default_must_be_chosen(without_default: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"^margin: how large a difference in accuracy matters .*--margin X.* in parts"):
        Study(**without_default).run(tmp_path / "s", workers=1)
    assert not (tmp_path / "s" / "study.db").exists()
    facts = preflight(StudySpec(**without_default, margin=0.01, floor=0.1)).facts
    assert facts["metrics"][0]["chance"] == 0.1


@pytest.mark.parametrize(
    ("margin", "words"),
    [(1e-12, "1e-12 points is less than 0.001, the least margin"), (101, "at most 100 points, which is every")],
)
def test_a_margin_that_no_difference_can_reach_is_refused(margin: float, words: str) -> None:
    with pytest.raises(SpecError, match=f"^margin: {words}"):
        preflight(StudySpec(**SMALL, margin=margin))


def stored(folder: Path, **changes: object) -> StudyRecord:
    folder.mkdir(exist_ok=True)
    facts = synthetic_study(("relu", "elu"), 1).data
    Store.create(folder, StudySpec(**SMALL, **changes), facts).close()
    return read_study(folder)


def test_views_say_if_a_margin_was_chosen(tmp_path: Path) -> None:
    default, chosen = stored(tmp_path / "default"), stored(tmp_path / "chosen", margin=2)
    assert (default.margin, default.margin_chosen) == (0.5, False)
    assert (chosen.margin, chosen.margin_chosen) == (2.0, True)
    assert "margin 0.5 points (default)" in summary_text(default)
    assert "margin 2 points (chosen)" in summary_text(chosen)
    assert "the default of accuracy, since none was chosen" in render_html(default)
    assert "as was chosen for this study" in render_html(chosen)
    assert [to_json(record)["margin_chosen"] for record in (default, chosen)] == [False, True]


def test_a_store_from_before_says_nothing_of_it_and_goes_on_with_the_default(tmp_path: Path) -> None:
    stored(tmp_path, margin=0.5)
    edit_spec(tmp_path, lambda spec: {key: value for key, value in spec.items() if key != "floor"})
    record = read_study(tmp_path)
    assert (record.margin, record.margin_chosen) == (0.5, None)
    assert "margin 0.5 points" in summary_text(record)
    Store.create(tmp_path, StudySpec(**SMALL), record.data).close()
    with pytest.raises(StoreError, match=r"margin was 0\.5, now 0\.4"):
        Store.create(tmp_path, StudySpec(**SMALL, margin=0.4), record.data)


def test_a_floor_may_be_added_and_not_changed(tmp_path: Path) -> None:
    facts = stored(tmp_path).data
    Store.create(tmp_path, StudySpec(**SMALL, floor=5.0), facts).close()
    with pytest.raises(StoreError, match=r"floor was 5\.0, now 6\.0"):
        Store.create(tmp_path, StudySpec(**SMALL, floor=6.0), facts)


def test_diverged_trials_without_a_floor_are_left_out_with_a_caution() -> None:
    study = synthetic_study(("relu", "elu"), 10, diverged={"elu": 3})
    nothing = replace(study, metrics=(replace(study.primary, chance=None), *study.metrics[1:]))
    assert len(analyse(nothing).primary[0].seeds) == 7
    (caution,) = (caution for caution in analyse(nothing).cautions if caution.id == "no-floor")
    assert "3 diverged trials are left out" in caution.text
    assert "--floor" in caution.text
    floored = replace(nothing, metrics=(replace(study.primary, chance=0.25), *study.metrics[1:]))
    contrast = analyse(floored).primary[0]
    assert (len(contrast.seeds), contrast.chance, contrast.arm_values[:3]) == (10, 25.0, (25.0,) * 3)


def test_metrics_are_defined_on_the_page() -> None:
    study = synthetic_study(("relu", "elu"), 2, epochs=2)
    assert "Share of the images of the part whose largest logit is that of their class." in render_html(study)
    psnr = MetricRecord("psnr", "PSNR", "dB", "higher", definition="10 log10(1 / mean squared error)")
    page = render_html(replace(study, metrics=(*classification_metrics(10), psnr))).replace("\u00a0", " ")
    assert "<dt>PSNR</dt><dd>10 log10(1 / mean squared error).</dd>" in page
