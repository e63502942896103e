"""Page of a study as text, for studies of all kinds."""

import base64
import hashlib
import json
import re
from dataclasses import replace
from importlib.resources import files

import pytest
from plotly.offline import get_plotlyjs

from slopewise.analysis import analyse, sentence
from slopewise.drawing import typeset
from slopewise.records import OperatorCostRecord
from slopewise.report import render_html, write_html
from slopewise.testing import synthetic_study


def small(**options):
    return synthetic_study(("relu", "prelu_shared", "prelu_channel"), seeds=3, epochs=2, **options)


def without_trials():
    return replace(small(), trials=())


def one_seed():
    return synthetic_study(("relu", "prelu_channel"), seeds=1, epochs=1)


def control_alone():
    return synthetic_study(("relu",), seeds=2, epochs=1)


def bare():
    return replace(small(), spec={}, data={}, environments={})


def half():
    study = small()
    return replace(study, trials=study.trials[:4])


def all_diverged():
    return small(diverged={"relu": 3, "prelu_shared": 3, "prelu_channel": 3})


def all_failed():
    return small(failed={"relu": 3, "prelu_shared": 3, "prelu_channel": 3})


@pytest.mark.parametrize(
    "study", [without_trials, one_seed, control_alone, bare, half, all_diverged, all_failed], ids=lambda f: f.__name__
)
def test_renders_any_study_as_far_as_it_is(study, parse):
    record = study()
    page = parse(render_html(record))
    for contrast in analyse(record).primary:
        assert typeset(sentence(contrast)).replace("\u00a0", " ") in page.text
    assert ("Not complete." in page.text) == (study in (without_trials, half))
    for figure in page.data:
        json.loads(figure, parse_constant=lambda name: pytest.fail(f"{name} in a figure"))


def test_says_what_is_missing(parse):
    text = " ".join(parse(render_html(half())).text.split())
    assert "4 of 9 trials have ended. Missing: prelu_shared seeds 1 and 2; prelu_channel seeds 0, 1 and 2." in text


def test_says_plainly_where_training_diverged(parse):
    page = parse(render_html(small(diverged={"prelu_shared": 2})))
    text = " ".join(page.text.split())
    note = "Training diverged in 2 of 9 finished trials. prelu_shared: 2 of 3 seeds (0 and 1)."
    assert note in text
    assert text.index(note) < text.index("Seed by seed")
    assert "training loss is nan" in text


def test_shows_failed_trials_with_their_tracebacks(parse):
    text = parse(render_html(small(failed={"prelu_channel": 1}))).text
    assert "Failed: prelu_channel, seed 2, after 2 attempts" in text
    assert "RuntimeError: worker died" in text


def test_says_what_the_steps_cost_with_stock_pytorch_or_why_that_was_not_asked(parse):
    study = small()
    text = " ".join(parse(render_html(study)).text.split())
    assert "Step times are with the compiled kernels; with stock PyTorch: prelu_shared 1." in text
    assert "Lighter bars:" in text
    assert "cpu_operators.reason" in text
    cost = (OperatorCostRecord(0, reason="the trials ran on stock PyTorch, since it rains"),)
    trials = tuple(replace(trial, operator_costs=trial.operator_costs and cost) for trial in study.trials)
    text = " ".join(parse(render_html(replace(study, trials=trials))).text.split())
    assert (
        "Steps of prelu_shared and prelu_channel were not timed with and without the compiled kernels: the trials ran "
        "on stock PyTorch, since it rains."
    ) in text
    assert "Lighter bars:" not in text


def test_warns_of_broken_pairing(parse):
    study = small()
    trials = (replace(study.trials[0], init_digest="other"), *study.trials[1:])
    assert "The pairing is broken" in parse(render_html(replace(study, trials=trials))).text
    assert "The pairing is broken" not in parse(render_html(study)).text


def test_holds_plotly_once_and_refers_to_nothing_outside(parse):
    html = render_html(small())
    assert html.count(get_plotlyjs()) == 1
    page = parse(html)
    assert len(page.scripts) == 3
    assert all(reference.startswith("#") or reference == "data:," for reference in page.references)


def test_policy_allows_its_own_scripts_alone(parse):
    page = parse(render_html(small()))
    hashes = {base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in page.scripts}
    directives = dict(directive.split(" ", 1) for directive in page.policy.split("; "))
    assert set(directives["script-src"].split()) == {f"'sha256-{name}'" for name in hashes}
    assert directives["default-src"] == "'none'"


def named(name):
    """Return a study in which every text of the user is `name`."""
    study = synthetic_study(("relu", name), seeds=2, epochs=1, diverged={name: 1})
    trials = [
        replace(
            trial,
            diverged_cause=trial.diverged_cause and name,
            sites=tuple(
                replace(site, layer=name, slope_min=0.1, slope_median=0.2, slope_max=0.3) for site in trial.sites
            ),
            gradients=tuple(replace(record, layer=name) for record in trial.gradients),
        )
        for trial in study.trials
    ]
    trials[1] = replace(trials[1], status="failed", error=name)
    facts = {"name": name, name: name}
    return replace(
        study, trials=tuple(trials), spec=facts | {"arms": [name]}, data=facts, environments={"synthetic": facts}
    )


def strings(value):
    """Yield every string in plain data."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (dict, list)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from strings(item)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        *(
            (name, name)
            for name in ("<script>alert(1)</script>", "</script><b>", "a & b", "{{ 7 * 7 }}", '" onload="x')
        ),
        ("名 \u2028", "名 \\u2028"),
        ("\x1b[31m\x00\x9b", "\\x1b[31m\\x00\\x9b"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
    ],
)
def test_user_text_is_text_everywhere(name, shown, parse):
    hostile, plain = parse(render_html(named(name))), parse(render_html(named("harmless")))
    assert hostile.tags == plain.tags
    escaped_in_toml = 4
    assert hostile.text.count(shown) >= plain.text.count("harmless") - escaped_in_toml > 30
    for figure, harmless in zip(hostile.data, plain.data, strict=True):
        tags = json.dumps(json.loads(figure)).count("<")  # those that Plotly would read as markup
        assert tags == json.dumps(json.loads(harmless)).count("<")
        assert shown == name or not any(name in text for text in strings(json.loads(figure)))


def test_writes_the_whole_file_or_nothing(tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    assert write_html(small(), path) == path
    first = path.read_text(encoding="utf-8")
    assert first == render_html(small())

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.replace", full)
        with pytest.raises(OSError, match="No space left"):
            write_html(bare(), path)
    assert path.read_text(encoding="utf-8") == first
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(FileNotFoundError):
        write_html(small(), tmp_path / "absent" / "report.html")


def luminance(colour):
    channels = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast_ratio(one, other):
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_colours_have_the_contrast_that_wcag_asks_for(theme):
    css = (files("slopewise.drawing") / "templates/style.css").read_text(encoding="utf-8")
    blocks = re.findall(r":root[^{]*\{(.*?)\}", css, re.DOTALL)
    colours = dict(re.findall(r"(--[\w-]+): (#[0-9a-f]{6})", blocks[theme]))
    for text, ground in [("text", "bg"), ("muted", "bg"), ("accent", "bg"), ("good", "good-bg"), ("bad", "bad-bg")]:
        assert contrast_ratio(colours[f"--{text}"], colours[f"--{ground}"]) >= 4.5, text
    for arm in range(8):
        assert contrast_ratio(colours[f"--arm-{arm}"], colours["--bg"]) >= 3, arm
