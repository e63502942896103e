"""Page of a watched run as text, for runs of all kinds."""

import base64
import hashlib
import json
import re
from dataclasses import replace

import pytest
from plotly.offline import get_plotlyjs

from slopewise.drawing import typeset
from slopewise.monitor import ADVICE, Alarm, End
from slopewise.report import render_watch_html, write_watch_html
from slopewise.testing import synthetic_recording


def small(**options):
    return synthetic_recording(layers=6, samples=12, **options)


@pytest.mark.parametrize(
    "options",
    [
        {"layers": 0, "samples": 0},
        {"layers": 2, "samples": 0, "finished": False},
        {"layers": 1, "samples": 1},
        {"layers": 2, "samples": 3, "slopes": False},
        {"layers": 3, "samples": 4, "diverged": True},
    ],
)
def test_renders_any_run_as_far_as_it_is(options, parse):
    page = parse(render_watch_html(synthetic_recording(**options)))
    for heading in ("Alarms", "Units", "Slopes", "Gradient flow", "Updates", "Latest state", "Glossary"):
        assert heading in page.text
    assert ("Not complete." in page.text) == (options.get("finished") is False)
    for figure in page.data:
        json.loads(figure, parse_constant=lambda name: pytest.fail(f"{name} in a figure"))


def test_every_alarm_has_its_place_its_evidence_its_advice_and_its_page(parse):
    recording = small()
    text = " ".join(parse(render_watch_html(recording)).text.split())
    assert len({alarm.id for alarm in recording.alarms}) >= 3
    for alarm in recording.alarms:
        activation = next((s.activation for s in recording.samples[-1].sites if s.site == alarm.where), "")
        where = f"{alarm.where} {activation}".strip()
        assert f"{where}{alarm.since}{alarm.step}{typeset(alarm.evidence)}".replace("\u00a0", " ") in text  # cells
        assert text.count(ADVICE[alarm.id]) == 1
        assert f"docs/alarms/{alarm.id}.md" in text
    assert f"{len(recording.alarms)} alarms: " in text
    assert text.index("alarms: ") < text.index("Dead units")


def test_without_alarms_it_says_so(parse):
    text = " ".join(parse(render_watch_html(small(alarms=False))).text.split())
    assert "No alarms." in text
    assert "No alarm was raised in 12 samples." in text


def test_says_how_it_ended_what_was_not_seen_and_what_it_took(parse):
    end = End(600, 20.0, 0.1, ("one thing", "another"), "RuntimeError: boom")
    text = " ".join(parse(render_watch_html(replace(small(), end=end))).text.split())
    assert "The run ended by an error. RuntimeError: boom" in text
    assert "one thing another" in text
    assert "Measuring took 0.5 % of the time: 0.100 of 20.0 seconds." in text
    assert "Every activation, slope and weight of the model was seen." not in text


def test_every_site_and_layer_is_in_the_tables_of_the_latest_state(parse):
    recording = small()
    text = parse(render_watch_html(recording)).text
    latest = text[text.index("Each row shows the latest sample") :]
    sample = recording.samples[-1]
    for name in (*(x.site for x in sample.sites), *(x.layer for x in sample.slopes), *(x.layer for x in sample.layers)):
        assert name in latest


def test_the_words_of_its_columns_are_in_the_glossary():
    html = render_watch_html(small())
    terms = {term.lower() for term in re.findall(r"<dt.*?>(.*?)</dt>", html)}
    assert {
        "positive",
        "never positive",
        "always positive",
        "zero gradient",
        "dead",
        "pass-through",
        "gradient snr",
        "update ratio",
        "from start",
    } <= terms


def test_holds_plotly_once_and_its_policy_allows_its_own_scripts_alone(parse):
    html = render_watch_html(small())
    assert html.count(get_plotlyjs()) == 1
    page = parse(html)
    assert len(page.scripts) == 3
    hashes = {base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in page.scripts}
    directives = dict(directive.split(" ", 1) for directive in page.policy.split("; "))
    assert set(directives["script-src"].split()) == {f"'sha256-{name}'" for name in hashes}
    assert directives["default-src"] == "'none'"
    assert all(reference.startswith("#") or reference == "data:," for reference in page.references)


def named(name):
    """Return a run in which every text of the user is `name`."""
    recording = synthetic_recording(layers=3, samples=4)
    samples = tuple(
        replace(
            sample,
            sites=tuple(replace(site, site=name, activation=name) for site in sample.sites),
            slopes=tuple(replace(layer, layer=name) for layer in sample.slopes),
            layers=tuple(replace(layer, layer=name) for layer in sample.layers),
        )
        for sample in recording.samples
    )
    alarms = (Alarm("dead-units", name, 151, 51, name),)
    return replace(
        recording,
        header=replace(recording.header, model=name, name=name),
        samples=samples,
        alarms=alarms,
        end=End(200, 1.0, 0.0, (name,), name),
    )


@pytest.mark.parametrize(
    "name", ["<img src=x onerror=hit()>", "</script><script>hit()</script>", "{{ 7 * 7 }} %{x} &lt;b>"]
)
def test_users_text_is_text(name, parse):
    page, harmless = parse(render_watch_html(named(name))), parse(render_watch_html(named("x")))
    assert [tag for tag in page.tags if tag[0] != "th"] == [tag for tag in harmless.tags if tag[0] != "th"]
    assert page.text.count(name) >= 8
    assert page.scripts == harmless.scripts


def test_appears_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "watch.html"
    assert write_watch_html(small(), str(path)) == path
    before = path.read_text(encoding="utf-8")
    monkeypatch.setattr("pathlib.Path.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_watch_html(synthetic_recording(layers=1, samples=1), path)
    assert path.read_text(encoding="utf-8") == before
    assert [file.name for file in tmp_path.iterdir()] == ["watch.html"]
