"""Paragraph before the first trial."""

import pytest

from slopewise.analysis import seeds_floor
from slopewise.events import Prepared
from slopewise.report import outlook

FACTS = {
    "name": "folder",
    "shape": [3, 32, 32],
    "classes": ["ant", "bee", "cat", "dog", "elk", "fox"],
    "train_and_validation_images": 1200,
    "test_images": 300,
}
SPEC = {
    "arms": [{"name": "relu"}, {"name": "elu"}, {"name": "gelu"}],
    "control": "relu",
    "seeds": [0, 1, 2],
    "data": {"source": "folder", "path": "photos", "validation_fraction": 0.25},
    "model": {"name": "nets:Net"},
    "train": {"epochs": 10, "batch_size": 100},
    "hardware": {"accelerator": "cpu", "threads": 1},
}


def prepared(**changes):
    augmentation = {"shift": 4, "flip": True, "erase": 0.0}
    given = {"facts": FACTS, "spec": SPEC, "augmentation": augmentation, "trials": 9, "side_by_side": 2}
    return Prepared(**{**given, **changes})


def test_it_says_what_was_read_and_how():
    text = outlook(prepared())
    assert text.startswith("photos: 1,200 images to train and validate on, 300 to test on, of 6 classes (ant, bee, ")
    assert "each 3 x 32 x 32 (channels, height, width)." in text
    assert "Augmentation: shifts of up to 4 pixels, mirror images." in text
    assert "10 epochs of 9 steps each" in text  # 900 of the 1,200 are trained on, 100 a step


@pytest.mark.parametrize(
    ("usual", "reshaped", "expected"),
    [
        (
            [80, 100],
            9,
            "32 x 32, which changes the shape of 9: --image-size 80x100 keeps it.",
        ),
        ([3000, 4000], 9, "--image-size 96x128 keeps it."),
        (
            [64, 64],
            0,
            "mostly 64 x 64 pixels (height, width) become 32 x 32: --image-size 64x64 leaves",
        ),
        ([500, 500], 0, "become 32 x 32: --image-size 128x128 keeps more of them."),
        ([32, 32], 2, "become 32 x 32, which changes the shape of 2"),
        ([32, 32], 0, None),
    ],
)
def test_pictures_that_are_resized_are_named_with_the_flag(usual, reshaped, expected):
    text = outlook(prepared(facts={**FACTS, "pictures": {"usual_size": usual, "reshaped": reshaped}}))
    assert expected in text if expected else "become" not in text


def test_a_source_that_resizes_nothing_does_not_speak_of_it():
    text = outlook(prepared(spec={**SPEC, "data": {**SPEC["data"], "source": "npz"}}))
    assert "resized" not in text


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (
            {"targets": "images", "classes": [], "target_shape": [1, 64, 64]},
            "300 to test on, each 3 x 32 x 32 (channels, height, width), with targets of 1 x 64 x 64.",
        ),
        (
            {"targets": "masks", "classes": ["a", "b"], "target_shape": [32, 32]},
            "of 2 classes (a, b), each 3 x 32 x 32",
        ),
        ({"targets": "values", "classes": ["value"], "target_shape": [1]}, "of 1 value (value), each 3 x 32 x 32"),
        ({"targets": "multilabel", "classes": ["a", "b"], "target_shape": [2]}, "of 2 labels (a, b), each 3 x"),
        ({"targets": "masks", "shape": [1, 4, 8, 8]}, "each 1 x 4 x 8 x 8 (channels, depth, height, width)"),
    ],
)
def test_targets_are_described_by_their_kind(facts, expected):
    assert expected in outlook(prepared(facts=FACTS | facts))


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.01, "about 10 seconds"), (0.1, "about 60 seconds"), (1.0, "about 10 minutes"), (30.0, "about 4.9 hours")],
)
def test_time_is_that_of_the_steps_and_of_the_evaluations(seconds, expected):
    """Five rounds of two trials, 90 steps each, and 30 % for evaluations."""
    assert f"2 at a time: {expected}." in outlook(prepared(seconds_per_step=seconds))


def test_time_counts_the_epochs_of_each_trial():
    """Nine trials that train for 180 epochs together, instead of ten each."""
    text = outlook(prepared(seconds_per_step=1.0, epochs=180))
    assert "on average 20 epochs of 9 steps each" in text
    assert "2 at a time: about 20 minutes." in text


def test_the_control_of_continued_arms_is_not_compared_itself():
    start = {"arm": "relu", "take": "weights"}
    on = [{"name": f"{name}_on", "activation": name, "start": start} for name in ("relu", "elu")]
    arms = [{"name": name, "activation": name} for name in ("relu", "elu")]
    assert f"use at least {seeds_floor(2)}." in outlook(prepared(spec={**SPEC, "arms": arms + on}))


def test_without_a_measured_step_no_time_is_promised():
    assert "about" not in outlook(prepared())
    assert "2 at a time (no step could be timed)." in outlook(prepared(unknown_pace="no step could be timed"))


def test_channels_last_is_proposed_where_it_gains():
    hint = "In channels last a step takes 0.71 times as long: --set model.memory_format=channels_last."
    assert hint in outlook(prepared(seconds_per_step=1.0, channels_last=0.71))
    for small in (None, 0.95, 1.4):
        assert "channels last" not in outlook(prepared(seconds_per_step=1.0, channels_last=small))


def test_seeds_that_can_show_nothing():
    assert f"3 seeds cannot be sure to show any effect; use at least {seeds_floor(2)}." in outlook(prepared())


def test_a_study_of_the_control_alone_has_nothing_to_show():
    assert "seed" not in outlook(prepared(spec={**SPEC, "arms": SPEC["arms"][:1]}))


@pytest.mark.parametrize(
    ("asked", "device", "words"),
    [
        ("cpu", "cpu", "on the CPU, 2 at a time"),
        ("auto", "cpu", "on the CPU (no GPU was found), 2 at a time"),
        ("auto", "cuda", "on cuda (found), 2 at a time"),
        ("auto", None, "on auto, 2 at a time"),
        ("cuda", "cuda", "on cuda, 2 at a time"),
    ],
)
def test_the_device_is_the_one_that_trials_use(asked, device, words):
    assert words in outlook(prepared(spec={**SPEC, "hardware": {"accelerator": asked, "threads": 1}}, device=device))


def test_an_idle_accelerator_is_named_with_the_way_to_use_it():
    text = outlook(prepared(idle="cuda (Synthetic 100)"))
    assert "cuda (Synthetic 100) stays idle: --set hardware.accelerator=cuda" in text


def test_an_adaptive_study_tells_its_looks_and_at_most_how_many_trials():
    spec = {**SPEC, "seeds": list(range(40)), "until_decided": {"looks": [10, 16, 24, 40]}}
    text = outlook(prepared(spec=spec, trials=120, seconds_per_step=0.1))
    assert "At most 120 trials of nets:Net" in text
    assert "2 at a time: at most about 12 minutes." in text
    assert (
        "The study looks after 10, 16, 24 and 40 seeds; an arm that a look decides gets no further seeds. 40 seeds show"
        in text
    )
