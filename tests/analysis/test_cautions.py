"""Cautions on verdicts without a basis: guesses, differences without spread, few seeds, small test sets."""

import dataclasses
import math

import pytest

from slopewise.analysis import analyse, sentence, smallest_detectable
from slopewise.records import StudyRecord
from slopewise.testing import replace_score, synthetic_study

DATA = {"classes": ["cat", "dog"], "test_images": 400, "test_images_by_class": [300, 100]}
TWO_IN_A_HUNDRED = 100 * (0.75 + 2 * math.sqrt(0.75 * 0.25 / 400))  # of guessing "cat" on 400 images, by hand


def ids(cautions):
    return [caution.id for caution in cautions]


def compared(study, control, arm, **fields):
    analysis = analyse(study({"relu": control, "elu": arm}, **{"classes": 2, "data": DATA, **fields}))
    return analysis, analysis.primary[0]


@pytest.mark.parametrize(("above", "expected"), [(-0.1, ["untrained"]), (0.1, [])])
def test_a_control_has_learned_from_two_standard_errors_above_the_largest_class(study, above, expected):
    control = [TWO_IN_A_HUNDRED + above + wiggle for wiggle in (-0.2, 0.2) * 3]
    analysis, _ = compared(study, control, [95, 95.25, 95.5, 95, 95.25, 95])
    assert ids(analysis.cautions) == expected


def test_arms_that_guess_are_not_called_equal(study):
    """Both arms predict the largest class for all images but one: the interval is narrow and means nothing."""
    _, contrast = compared(study, [75, 75.25, 75, 75, 75.25, 75], [75, 75, 75.25, 75, 75, 75])
    assert contrast.interval is not None
    assert max(map(abs, contrast.interval)) < contrast.margin
    assert (contrast.verdict, contrast.negligible) == ("inconclusive", False)
    assert [caution.brief for caution in contrast.cautions] == ["relu did not learn", "elu did not learn"]
    assert "relu did not learn; elu did not learn" in sentence(contrast)


def test_an_arm_that_fails_beside_a_control_that_learns_still_hurts(study):
    _, contrast = compared(study, [95, 95.25, 96, 95, 95.5, 95], [75, 75, 75.25, 75, 75, 75])
    assert contrast.verdict == "hurts"
    assert ids(contrast.cautions) == ["untrained"]


def test_a_control_that_diverges_everywhere_is_untrained(study):
    analysis, contrast = compared(study, [None] * 6, [95, 95.25, 96, 95, 95.5, 95])
    assert contrast.verdict == "helps"
    assert ids(analysis.cautions) == ["untrained"]
    assert "relu did not learn" in sentence(contrast)


def test_without_counts_of_the_classes_they_are_taken_to_be_equal(study):
    assert ids(analyse(study({"relu": [10, 10]}, classes=10)).cautions) == ["untrained"]
    assert ids(analyse(study({"relu": [11, 11]}, classes=10)).cautions) == []


def trained_apart(study: StudyRecord) -> StudyRecord:
    """Return the study with another training loss in every trial, so that no two arms are one function."""
    trials = tuple(replace_score(t, "train", "loss", 0.5 + n, epoch=1) for n, t in enumerate(study.trials))
    return dataclasses.replace(study, trials=trials)


@pytest.mark.parametrize(
    ("arm", "expected", "verdict"),
    [
        ([90, 91], ["no-spread", "too-few-seeds"], "inconclusive"),
        ([90.25, 91.25], ["no-spread", "too-few-seeds"], "inconclusive"),
        ([90, 91.1], ["too-few-seeds"], "inconclusive"),
        ([90, 91, 90], ["no-spread", "too-few-seeds"], "inconclusive"),
        ([90, 91] * 3, ["no-spread"], "no practical effect"),
        ([90, 91, 90, 91, 90, 91.1], [], "no practical effect"),
    ],
)
def test_equal_differences_show_nothing_below_the_floor(study, arm, expected, verdict):
    record = study({"relu": ([90, 91] * 3)[: len(arm)], "elu": arm}, classes=2, data=DATA, margin=2.0)
    record = trained_apart(record)
    contrast = analyse(record).primary[0]
    assert ids(contrast.cautions) == expected
    assert contrast.verdict == verdict


@pytest.mark.parametrize(("images", "verdict"), [(100, "inconclusive"), (360, "no practical effect")])
def test_equal_differences_near_the_ceiling_are_as_wide_as_a_test_image(study, images, verdict):
    """Ten seeds without a mistake: on 100 images, true accuracies of 99.4 and 100 % would look like that."""
    data = {"classes": ["cat", "dog"], "test_images": images, "test_images_by_class": [images // 2] * 2}
    record = study({"relu": [100] * 10, "elu": [100] * 10}, classes=2, data=data)
    record = trained_apart(record)
    contrast = analyse(record).primary[0]
    half = 2.262157 * (100 / images) / 10**0.5  # t[9] at 97.5 %
    assert contrast.interval == pytest.approx((-half, half), rel=1e-6)
    assert contrast.smallest_detectable == pytest.approx(smallest_detectable(10, 100 / images, 1))
    assert contrast.verdict == verdict


@pytest.mark.parametrize(("seeds", "expected"), [(5, ["too-few-seeds"]), (6, [])])
def test_fewer_pairs_than_the_floor(study, seeds, expected):
    _, contrast = compared(study, [90.0] * seeds, [91.0 + k / 4 for k in range(seeds)])
    assert ids(contrast.cautions) == expected


def test_a_class_without_test_images_is_named(study):
    data = {"classes": ["cat", "dog", "emu"], "test_images": 400, "test_images_by_class": [200, 200, 0]}
    analysis, contrast = compared(study, [90, 90.5] * 3, [91, 92] * 3, classes=3, data=data)
    assert "the test set has no image of class 'emu'" in analysis.cautions[0].text
    assert "no test image of class 'emu'" in sentence(contrast)


def test_a_test_set_on_which_one_image_reaches_the_margin(study):
    data = {**DATA, "test_images": 100, "test_images_by_class": [50, 50]}
    assert ids(compared(study, [90, 91] * 3, [90, 92] * 3, data=data)[0].cautions) == ["coarse-test-set"]
    assert ids(compared(study, [90, 91] * 3, [90, 92] * 3, data=data, margin=1.0)[0].cautions) == ["coarse-test-set"]
    assert ids(compared(study, [90, 91] * 3, [90, 92] * 3, data=data, margin=1.01)[0].cautions) == []


def test_a_control_that_makes_no_mistake(study):
    analysis, contrast = compared(study, [100] * 6, [99.5, 100, 99.75, 100, 100, 99.5])
    assert ids(analysis.cautions) == ["ceiling"]
    assert contrast.cautions[0].brief == "relu is right on every test image"


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([300, 100], []),
        ([320, 80], ["largest-class"]),
        ([400, 0], ["test-class-missing", "largest-class"]),
        ([25, 25, 25, 25], []),
        ([29, 1, 1, 1, *[4] * 17], []),  # ten times the mean of the others, and still no third of all
        ([40, *[6] * 10], ["largest-class"]),
    ],
)
def test_accuracy_is_a_poor_score_where_one_class_is_most_of_the_test_part(study, counts, expected):
    data = {"classes": [f"c{k}" for k in range(len(counts))], "test_images_by_class": counts}
    records = study({"relu": [99.5, 99.25]}, data=data, classes=len(counts))
    found = ids(analyse(records).cautions)
    assert [name for name in found if name in ("largest-class", "test-class-missing")] == expected
    if "largest-class" in expected:
        (caution,) = (each for each in analyse(records).cautions if each.id == "largest-class")
        assert "of the test images are of class 'c0'" in caution.text
        assert "\n" not in caution.text


def test_cautions_about_test_images_are_those_of_scores_on_them():
    study = synthetic_study(seeds=8, epochs=2)
    analysis = analyse(dataclasses.replace(study, data={**study.data, "test_images": 100}))
    assert all("coarse-test-set" in ids(contrast.cautions) for contrast in analysis.primary)
    assert analysis.secondary
    assert not any("coarse-test-set" in ids(contrast.cautions) for contrast in analysis.secondary)
