"""Adaptive studies: what each view says of their looks, and which trials are due; descriptions beside verdicts."""

import re
from dataclasses import replace

import pytest

from slopewise.analysis import analyse, describe, look_words
from slopewise.report import render_html, study_info, summary_text, to_json
from slopewise.testing import synthetic_study

WHOLE = synthetic_study(
    ("relu", "elu", "frozen_slope", "prelu_channel"), looks=(10, 16, 24, 40), epochs=2, effects={"prelu_channel": 2.0}
)


def after(seeds, **fewer):
    """Return the study after a number of seeds, with fewer for some arms."""
    trials = tuple(trial for trial in WHOLE.trials if trial.seed < fewer.get(trial.arm, seeds))
    return replace(WHOLE, trials=trials)


OPEN = after(24, prelu_channel=16)


def decided_alone():
    """Return a study of which every arm was decided at a look before the last."""
    study = synthetic_study(("relu", "prelu_channel"), looks=(10, 16, 40), epochs=2, effects={"prelu_channel": 3.0})
    trials = tuple(trial for trial in study.trials if trial.seed < 16)
    return replace(study, trials=trials)


def test_a_decided_arm_lacks_no_trial():
    info = study_info(OPEN)
    contrasts = {contrast.arm: contrast for contrast in analyse(OPEN).primary}
    assert contrasts["prelu_channel"].decided
    assert not contrasts["frozen_slope"].decided
    assert "prelu_channel" not in info.missing
    assert len(info.missing["relu"]) == len(info.missing["frozen_slope"]) == 16
    due = {"relu": 40, "prelu_channel": 16} | {arm: 24 if contrasts[arm].decided else 40 for arm in ("elu",)}
    assert info.planned == sum(due.values()) + 40
    assert info.most
    result = to_json(OPEN)
    assert result["trials"]["arms"]["prelu_channel"]["missing"] == 0
    assert {trial["arm"] for trial in result["missing"]} == set(info.missing)
    assert result["trials"]["planned"] == info.planned


def test_a_study_is_complete_when_every_arm_is_decided(parse):
    study = decided_alone()
    info = study_info(study)
    assert (info.planned, info.most, info.missing) == (32, False, {})
    assert "Not complete" not in summary_text(study)
    assert "Not complete" not in parse(render_html(study)).text


def test_a_study_is_not_complete_before_its_last_look(parse):
    ended, planned = len(OPEN.trials), study_info(OPEN).planned
    words = f"{ended} of at most {planned} trials have ended"
    assert words in " ".join(summary_text(OPEN).split())
    assert words in " ".join(parse(render_html(OPEN)).text.split())
    last = after(40, prelu_channel=16)
    assert not study_info(last).most


@pytest.mark.parametrize("seeds", [5, 10, 24, 40])
def test_every_view_says_at_which_look_an_arm_was_decided(seeds, parse):
    study = after(seeds, prelu_channel=min(seeds, 16))
    text = " ".join(parse(render_html(study)).text.split())
    terminal = " ".join(summary_text(study).split())
    schedule = "the study looks after 10, 16, 24 and 40 seeds, and an arm that a look decides gets no further seeds"
    for shown in (text, terminal):
        assert "at most 40 seeds" in shown
        assert schedule in shown
        assert "adjusted for looking" in shown
    for contrast in analyse(study).primary:
        words = look_words(contrast)
        if contrast.look:
            assert words[1:] in text
            assert words[1:] in terminal
    shown = [contrast["at_look"] for contrast in to_json(study)["contrasts"]][: len(WHOLE.arms) - 1]
    assert shown == [look_words(contrast) for contrast in analyse(study).primary]
    assert "prelu_channel" in summary_text(study, 80)
    assert max(map(len, summary_text(study, 80).splitlines())) <= 80


def test_the_table_of_an_adaptive_study_has_a_column_for_the_look():
    html = render_html(OPEN)
    table = html[html.index("Summary of the arms") :]
    row = re.search(r'<th scope="row">prelu_channel</th>(.*?)</tr>', table, re.DOTALL)[1]
    assert "<td>at 16 seeds</td>" in row
    fixed = render_html(synthetic_study(("relu", "elu"), seeds=4, epochs=1))
    assert '<th scope="col">Decided</th>' in html
    assert '<th scope="col">Decided</th>' not in fixed
    assert "adjusted for looking" not in fixed


def test_descriptions_are_beside_the_verdicts_and_no_verdicts(parse):
    study = synthetic_study(("relu", "elu", "prelu_channel"), seeds=9, epochs=2, effects={"elu": 0.4})
    html = render_html(study)
    table = html[html.index("How likely a difference is") :]
    for contrast, shown in zip(analyse(study).primary, to_json(study)["contrasts"], strict=False):
        description = describe(contrast)
        row = re.search(rf'<th scope="row">{contrast.arm}</th>(.*?)</tr>', table, re.DOTALL)[1]
        cells = [re.sub("&[lg]t; ", "", cell) for cell in re.findall(r'<td class="num"[^>]*>(.*?)</td>', row)]
        for cell, value in zip(cells, (description.worse, description.within, description.better), strict=True):
            assert int(cell.removesuffix(" %")) == pytest.approx(100 * value, abs=1)
        won = sum(difference > 0 for difference in contrast.differences)
        assert f">{won} of {sum(difference != 0 for difference in contrast.differences)} (" in row
        assert shown["description"]["better"] == description.better
        widths = [float(width) for width in re.findall(r"width:([\d.]+)%", row)]
        assert sum(widths) == pytest.approx(100, abs=0.2)
    assert "a description, not a verdict" in parse(html).text


def test_descriptions_of_runs_that_are_not_paired(parse):
    study = replace(synthetic_study(("relu", "elu"), seeds=5, epochs=1), paired=False)
    text = " ".join(parse(render_html(study)).text.split())
    assert "25 pairs of runs" in text
    assert "Wins: the share of all pairs of an arm’s run" in text
