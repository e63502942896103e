"""The paragraph for a paper: every number in it is read back and compared with the analysis."""

import re
from dataclasses import replace

import pyarrow as pa
import pytest

from slopewise.analysis import analyse
from slopewise.records import classification_metrics
from slopewise.report import paper_paragraph, render_html
from slopewise.support.citation import bibtex, version
from slopewise.tables import judge
from slopewise.testing import synthetic_study, with_cells

RESULT = re.compile(
    r"(?:The result for (?P<open>\w+) was inconclusive|(?P<arm>\w+) (?P<verdict>helped|hurt|had no practical effect))"
    r"(?P<small>, less than the relevant difference)?(?:, at the look after (?P<look>\d+) seeds)?: "
    r"(?P<difference>[-+]?[\d.]+)(?: (?P<unit>\w+))? \(95 % CI (?P<low>[-+]?[\d.]+) to (?P<high>[-+]?[\d.]+); "
    r"n = (?P<n>\d+)(?: and (?P<m>\d+) runs| seeds); p (?P<relation>[=<]) (?P<p>[\d.e-]+)\)"
)
VERDICTS = {"helps": "helped", "hurts": "hurt", "no practical effect": "had no practical effect", "inconclusive": None}


def fixed():
    return synthetic_study(seeds=10, epochs=2, effects={"prelu_channel": 2.0, "frozen_slope": -3.0})


def unpaired():
    return replace(fixed(), paired=False)


def both():
    trials = [replace(t, init_digest="x") if (t.arm, t.seed) == ("leaky_relu", 2) else t for t in fixed().trials]
    return replace(fixed(), trials=tuple(trials))


def adaptive():
    study = synthetic_study(("relu", "elu", "prelu_channel"), looks=(10, 16, 40), epochs=2, effects={"elu": -2.5})
    return replace(study, trials=tuple(t for t in study.trials if t.seed < 16 or t.arm != "elu"))


def lower_is_better():
    study = fixed()
    return replace(study, metrics=(replace(study.metrics[1], margin=0.01),), margin=0.002, margin_chosen=True)


def default_margin():
    return replace(fixed(), margin_chosen=False)


def diverging():
    return synthetic_study(("relu", "elu"), seeds=9, epochs=2, diverged={"elu": 2}, failed={"relu": 1})


def a_table():
    rows = [{"arm": arm, "fold": f, "dB": 30 + f / 9 + k * f / 7} for k, arm in enumerate(("a", "b")) for f in range(8)]
    return judge(
        pa.Table.from_pylist(rows), arm="arm", seed="fold", metric="dB", better="higher", control="a", margin=0.1
    ).record


@pytest.mark.parametrize(
    "make",
    [fixed, unpaired, both, adaptive, lower_is_better, default_margin, diverging, a_table],
    ids=lambda f: f.__name__,
)
def test_its_numbers_are_those_of_the_analysis(make):
    study = make()
    text, analysis = paper_paragraph(study), analyse(study)
    results = {found["open"] or found["arm"]: found for found in RESULT.finditer(text)}
    assert list(results) == [arm for arm in study.arms if arm != study.control]
    for contrast in analysis.primary:
        found, step = results[contrast.arm], 0.5001 * 10**-contrast.digits
        assert found["verdict"] == VERDICTS[contrast.verdict]
        assert float(found["difference"]) == pytest.approx(contrast.difference, abs=step)
        ends = float(found["low"]), float(found["high"])
        assert ends == pytest.approx(contrast.interval, abs=step)
        assert (found["unit"] or "") == contrast.unit
        assert int(found["n"]) == len(contrast.seeds)
        assert (found["m"] is None) is contrast.paired
        assert found["m"] is None or int(found["m"]) == len(contrast.control_seeds)
        if found["relation"] == "<":
            assert contrast.p_holm < float(found["p"]) == 0.001
        else:
            assert float(found["p"]) == pytest.approx(contrast.p_holm, rel=0.06)
        assert (found["look"] and int(found["look"])) == (contrast.look if contrast.decided else None)
        assert bool(found["small"]) is (contrast.negligible and contrast.verdict in ("helps", "hurts"))
    tests = re.search(r"corrected for (\d+) comparisons", text)
    assert (int(tests[1]) if tests else 1) == len(analysis.primary)
    margin = re.search(r"Differences of ([\d.]+)", text)
    assert float(margin[1]) == study.margin
    assert f"{study.primary.better} values are better" in text
    assert text.startswith(f"We compared {', '.join(study.arms[1:-1])}" if len(study.arms) > 2 else "We compared")


@pytest.mark.parametrize(
    ("make", "said", "unsaid"),
    [
        (
            fixed,
            ["sign-flip test", "same 10 seeds", "Student's t"],
            ["permutation", "examined", "Welch", "chosen", "Caution", "Training used", "Augmentation"],
        ),
        (unpaired, ["permutation test", "independent samples", "Welch's t"], ["sign-flip", "same 10 seeds"]),
        (
            both,
            ["sign-flip test or the exact two-sided permutation test", "start like the control: leaky_relu"],
            [],
        ),
        (
            adaptive,
            ["examined after 10, 16 and 40 seeds", "group-sequential", "adjusted for repeated looks", "at most 40"],
            ["same 40 seeds"],
        ),
        (lower_is_better, ["lower values are better", "chosen for this study"], ["default"]),
        (default_margin, ["the default of the metric"], ["chosen"]),
        (
            diverging,
            ["Trials that diverged (2 of 9 of elu) counted as 10 %.", "1 trial failed", "without correction"],
            [],
        ),
        (a_table, ["The outcome was the dB"], ["trained for", "Trials ran", "initial weights", "final"]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)  # fmt: skip
def test_it_says_how_the_study_was_made(make, said, unsaid):
    text = paper_paragraph(make())
    for words in said:
        assert words in text
    for words in unsaid:
        assert words not in text


@pytest.mark.parametrize("make", [fixed, unpaired, diverging, a_table], ids=lambda make: make.__name__)
def test_means_are_those_of_the_scores(make):
    study = make()
    text = paper_paragraph(study).partition("Means and standard deviations")[2]
    for arm in analyse(study).arms:
        mean, sd = map(float, re.search(rf"\b{arm.arm} (-?\d+\.?\d*) ± (\d+\.?\d*)", text).groups())
        step = 0.5001 * 10**-study.primary.digits
        assert (mean, sd) == (pytest.approx(arm.score_mean, abs=step), pytest.approx(arm.score_sd, abs=step))


def test_what_limits_the_figures_is_said_once_and_of_whom():
    study = synthetic_study(("relu", "elu", "gelu"), seeds=10, epochs=2)
    data = {**study.data, "test_images": 40, "augmentation": {"shift": 2, "flip": False, "erase": 0.0}}
    text = paper_paragraph(replace(study, data=data))
    assert text.count("Note that one test image is worth 2.5 points.") == 1
    assert "Augmentation: shifts of up to 2 pixels." in text


def test_it_says_how_the_network_was_trained():
    """Whatever a study's spec and records know."""
    study = fixed()
    train = {"epochs": 2, "batch_size": 64, "optimizer": "sgd", "lr": 0.025, "momentum": 0.9, "weight_decay": 5e-4}
    trials = tuple(
        replace(t, parameters=1000 + 8 * (t.arm == "prelu_channel"), slope_parameters=8 * (t.arm == "prelu_channel"))
        for t in study.trials
    )
    study = replace(
        study, spec={**study.spec, "train": {**train, "schedule": "one-cycle"}, "model": {"name": "cnn"}}, trials=trials
    )
    text = paper_paragraph(study)
    assert "in the network cnn (1,000 parameters, slopes aside)." in text
    assert "Every trial trained for 2 epochs with SGD (Nesterov momentum). Training used batches of 64, a peak " in text
    assert "learning rate of 0.025, momentum 0.9, weight decay 0.0005 (slopes 0) and a one-cycle schedule." in text
    used = {"a": {"slopewise": version(), "torch": "2.13.0"}}
    text = paper_paragraph(replace(study, environments=used))
    assert text.endswith(f"Trials and analysis were made with slopewise {version()} and PyTorch 2.13.0.")
    assert text.count(version()) == 1
    used["a"]["slopewise"] = "0.0.1"
    assert "Trials ran with slopewise 0.0.1 and PyTorch 2.13.0; the analysis is" in paper_paragraph(
        replace(study, environments=used)
    )


def arms_with(study, **own):
    """Give arms settings of their own."""
    arms = [{**arm, **own.get(arm["name"], {})} for arm in study.spec["arms"]]
    train = {
        "epochs": 2,
        "optimizer": "sgd",
        "lr": 0.025,
        "momentum": 0.9,
        "weight_decay": 5e-4,
        **own.pop("train", {}),
    }
    return replace(study, spec={**study.spec, "train": train, "arms": arms})


def test_it_says_which_arms_have_settings_of_their_own():
    study = synthetic_study(("relu", "elu", "gelu", "prelu_channel"), seeds=10, epochs=2)
    own = {
        "elu": {"lr": 0.01},
        "gelu": {"lr": 0.01},
        "prelu_channel": {"lr": 0.05, "slope_lr_scale": 0.1, "slope_weight_decay": 1e-3},
        "relu": {"lr": 0.025, "slope_lr_scale": 1.0, "slope_weight_decay": 0.0},  # what all arms have
    }
    assert (
        "Training used a learning rate of 0.025 except elu and gelu (0.01) and prelu_channel (0.05), a learning rate "
        "of slopes 1 times that of weights except prelu_channel (0.1), momentum 0.9 and weight decay 0.0005 (slopes 0, "
        "those of prelu_channel 0.001)."
    ) in paper_paragraph(arms_with(study, **own))
    assert "a learning rate of 0.025, a learning rate of slopes 0.5 times that of weights, momentum" in paper_paragraph(
        arms_with(study, train={"slope_lr_scale": 0.5})
    )
    tuned = with_cells(arms_with(study, elu={"lr": 0.01}), tune=[0.01, 0.1, 0.03], seeds=4)
    assert "Training used a learning rate of 0.01 for elu, momentum 0.9 and" in paper_paragraph(tuned)


def test_it_names_the_gradient_of_shared_slopes_where_it_is_not_the_mean():
    assert "shared by all channels" not in paper_paragraph(arms_with(fixed(), relu={"shared_gradient": "mean"}))
    names = list(fixed().arm_tables)
    one = paper_paragraph(arms_with(fixed(), **{names[1]: {"shared_gradient": "sum"}}))
    assert (
        "The gradient of a slope shared by all channels of a layer was the mean over the channels, except in "
        f"{names[1]} (sum)."
    ) in one
    every = paper_paragraph(arms_with(fixed(), train={"shared_gradient": "sum"}))
    assert "was the sum over the channels." in every


def test_sgd_without_momentum_is_not_nesterovs():
    text = paper_paragraph(arms_with(fixed(), train={"momentum": 0}))
    assert "trained for 2 epochs with SGD. Training used a learning rate of 0.025 and weight decay" in text
    adam = paper_paragraph(arms_with(fixed(), train={"momentum": 0, "optimizer": "adamw"}))
    assert "trained for 2 epochs with AdamW. " in adam


def test_it_says_how_rates_were_tuned():
    text = paper_paragraph(with_cells(fixed(), tune=[0.01, 0.1, 0.03], seeds=4))
    assert "learning rate of 0.025" not in text
    assert (
        "The learning rate of each arm was the best of the same 3 rates between 0.01 and 0.1, by the mean "
        "validation accuracy over 4 seeds that are not used in the comparison."
    ) in text


def test_it_says_which_arms_start_from_another_arm_and_how_long_they_train():
    """Such arms do not all start from the same weights, whether or not a continuation of the control is there."""
    study = synthetic_study(("relu", "elu", "gelu"), seeds=10, epochs=2)
    weights = {"arm": "relu", "take": "weights"}
    arms = [{**arm, "start": None if arm["name"] == "relu" else weights} for arm in study.spec["arms"]]
    arms[1]["epochs"] = study.spec["train"]["epochs"] + 3

    text = paper_paragraph(replace(study, spec={**study.spec, "arms": arms}))
    assert re.search(r"Every trial trained for \d+ epochs, except elu for \d+ epochs\.", text)
    assert "In each seed, elu and gelu started from the final weights of relu, trained with the same seed." in text
    assert "all arms started from" not in text

    slopes = [*arms[:2], {**arms[2], "start": {"arm": "elu", "take": "slopes"}}]
    text = paper_paragraph(replace(study, spec={**study.spec, "arms": slopes}))
    assert "In each seed, gelu started from the learned slopes of elu, trained with the same seed." in text


def test_it_is_called_preliminary_before_the_end_and_survives_any_study():
    study = fixed()
    text = paper_paragraph(replace(study, trials=study.trials[:31]))
    assert text.startswith("PRELIMINARY: 31 of 50 trials have ended.")
    assert "prelu_channel has no result." in text
    for other in (replace(study, trials=()), replace(study, spec={}, data={}, environments={})):
        assert paper_paragraph(other)
    alone = synthetic_study(("relu",), seeds=2, epochs=1)
    assert "nothing to compare" in paper_paragraph(alone)
    many = replace(study, metrics=(replace(classification_metrics(10)[0], chance=None),))
    assert paper_paragraph(many)


def plain(text):
    return text.replace("\u00a0", " ").replace("−", "-")


def test_the_page_has_it_with_a_button_that_copies_it(browser, tmp_path):
    study = fixed()
    path = tmp_path / "page.html"
    path.write_text(render_html(study))
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    page = context.new_page()
    page.goto(path.as_uri())
    assert plain(page.locator("#paper-text").inner_text()) == paper_paragraph(study)
    page.locator("button.copy").first.click()
    page.wait_for_function("document.querySelector('[role=status]').textContent !== ''")
    assert page.locator("button.copy + [role=status]").first.inner_text() == "Copied."
    assert page.evaluate("navigator.clipboard.readText()") == paper_paragraph(study)
    page.locator("button[data-copies=bibtex]").click()
    page.locator("button[data-copies=bibtex] + [role=status]", has_text="Copied.").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == page.locator("#bibtex").inner_text() == bibtex(version())
    page.evaluate("() => { navigator.clipboard.writeText = async () => { throw new DOMException('no'); }; }")
    page.locator("button.copy").first.click()
    page.wait_for_function("document.querySelector('[role=status]').textContent !== 'Copied.'")
    assert plain(page.evaluate("getSelection().toString()").strip()) == paper_paragraph(study)
    context.close()
