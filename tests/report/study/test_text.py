"""Summary of a study on a terminal: table and sentences."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from slopewise.analysis import analyse, sentence
from slopewise.records import ArmCounts, OperatorCostRecord, StudyCounts
from slopewise.report import print_status, print_summary, summary_text
from slopewise.testing import synthetic_study


def rows(text):
    """Return the words of each line by the first word."""
    return {line.split()[0]: line.split() for line in text.splitlines() if line.strip()}


@pytest.mark.parametrize("width", [40, 60, 80, 104, 120])
def test_fits_its_width_and_says_every_sentence(width):
    study = synthetic_study(seeds=10, epochs=2, diverged={"prelu_shared": 3})
    text = summary_text(study, width)
    assert max(map(len, text.splitlines())) <= width
    words = " ".join(text.split())
    for contrast in analyse(study).primary:
        assert sentence(contrast) in words
    assert "Training diverged: prelu_shared in 3 of 10 seeds." in words


@pytest.mark.parametrize("width", [40, 60, 80])
def test_the_names_of_arms_stay_whole_on_a_narrow_terminal(width):
    study = synthetic_study(seeds=10, epochs=2, diverged={"prelu_shared": 3})
    lines = [line.split() for line in summary_text(study, width).splitlines() if line]
    for arm in study.arms:
        assert [arm] in [line[:1] for line in lines]
    assert max(map(len, summary_text(study, width).splitlines())) <= width
    words = [word for line in lines for word in line]
    assert ("0.06", "to", "0.49") in zip(words, words[1:], words[2:], strict=False) or width == 80  # in two lines there


@pytest.mark.parametrize("images", [100, 10_000])
def test_a_footnote_explains_the_mark_of_a_caution(images):
    study = synthetic_study(seeds=8, epochs=2)
    text = summary_text(replace(study, data={**study.data, "test_images": images}), 120)
    verdicts = [line.split() for line in text.splitlines() if line.split()[:1] == ["leaky_relu"]]
    assert ("* a verdict with a caution" in text) == (images == 100)  # one image is worth a point, the margin is half
    assert ("*" in verdicts[0]) == (images == 100)


def test_nothing_is_cut_at_80_columns():
    study = synthetic_study(seeds=10, epochs=2, diverged={"prelu_shared": 3}, effects={"leaky_relu": 3})
    text = summary_text(study, 80)
    assert "…" not in text
    for word in ("prelu_channel", "inconclusive", "helps", "3 of 10", "converged", "7 pairs"):
        assert word in text


def test_a_wide_row_has_the_arms_figures():
    study = synthetic_study(("relu", "prelu_shared"), seeds=4, epochs=2, effects={"prelu_shared": -30})
    arm, contrast = analyse(study).arms[1], analyse(study).primary[0]
    row = " ".join(rows(summary_text(study, 120).split("\n\n")[1])["prelu_shared"])
    medians = [layer.median for layer in arm.slopes]
    assert row == (
        f"prelu_shared {arm.score_mean:.2f} ± {arm.score_sd:.2f} {contrast.difference:.2f} "
        f"[{contrast.interval[0]:.2f}, {contrast.interval[1]:.2f}] {contrast.verdict} * 0 of 4 {arm.cost_ratio:.2f}× "
        f"{min(medians):.2f} to {max(medians):.2f}"
    )


@pytest.mark.parametrize("width", [80, 120])
def test_says_what_the_steps_cost_with_stock_pytorch(width):
    study = synthetic_study(("relu", "prelu_shared", "prelu_channel"), seeds=2, epochs=2)
    _, shared, channel = analyse(study).arms
    words = " ".join(summary_text(study, width).split())
    assert words.endswith(
        "- Step times are with the compiled kernels; with stock PyTorch: "
        f"prelu_shared {1.2 * shared.cost_ratio:.2f}× and prelu_channel {1.25 * channel.cost_ratio:.2f}×."
    )


def test_says_where_nothing_was_compared_and_why():
    study = synthetic_study(("relu", "prelu_shared", "prelu_channel", "prelu"), seeds=2, epochs=2)
    reasons = {"prelu_shared": "there are [bold]none", "prelu_channel": "there are [bold]none", "prelu": "it rains"}
    trials = tuple(
        replace(t, operator_costs=t.operator_costs and (OperatorCostRecord(0, reason=reasons[t.arm]),))
        for t in study.trials
    )
    words = " ".join(summary_text(replace(study, trials=trials)).split())
    assert "Step times" not in words
    assert (
        "- Steps of prelu_shared and prelu_channel were not timed with and without the compiled kernels: there are "
        "[bold]none. - Steps of prelu were not timed with and without the compiled kernels: it rains."
    ) in words
    before = tuple(replace(t, operator_costs=()) for t in study.trials)  # of an older slopewise
    assert "compiled kernels" not in summary_text(replace(study, trials=before))


def test_says_what_is_missing_failed_and_unpaired():
    study = synthetic_study(("relu", "elu"), seeds=3, epochs=1, failed={"elu": 1})
    trials = (replace(study.trials[0], data_digest="other"), *study.trials[2:])
    text = " ".join(summary_text(replace(study, trials=trials)).split())
    assert "Not complete: 5 of 6 trials have ended." in text
    assert "Failed, without a result: elu seed 2." in text
    assert "The pairing is broken in seeds 0" in text
    assert "no result yet" in " ".join(summary_text(replace(study, trials=())).split())


def test_user_text_is_no_markup_and_colour_is_not_needed(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    study = synthetic_study(("relu", "[red]arm[/red]"), seeds=2, epochs=1)
    console = Console(file=io.StringIO(), width=100, force_terminal=True)
    print_summary(replace(study, spec={"name": "[bold]name[/bold]"}), console)
    text = console.file.getvalue()
    assert text.count("[red]arm[/red]") == 2  # in the table and in its sentence
    assert "[bold]name[/bold]" in text
    assert "\x1b[3" not in text  # no colour; bold is allowed


def test_plain_output_needs_no_wide_encoding():
    summary_text(synthetic_study(seeds=3, epochs=1), 80).replace("─", "").encode("latin-1")


def test_status_counts_the_trials_of_each_arm():
    counts = StudyCounts("", (ArmCounts("relu", 3, 0, 0, missing=1), ArmCounts("[b]elu", 2, 1, 2, missing=0)))
    console = Console(file=io.StringIO(), width=80)
    print_status(counts, console)
    shown = rows(console.file.getvalue())
    assert shown["relu"][1:] == ["3", "0", "0", "1"]
    assert shown["[b]elu"][1:] == ["2", "1", "2", "0"]
    assert "At most" not in console.file.getvalue()
    print_status(replace(counts, most=30), console)
    assert "At most 30 trials in all; the actual number depends on the results." in console.file.getvalue()
