"""Page of a watched run in a real Chromium, opened as a file."""

import re
from itertools import pairwise

import pytest

from slopewise.report import write_watch_html
from slopewise.testing import synthetic_recording

HOSTILE = "encoder.<img src=x onerror='hit=1'>&amp;%{x}.blocks."
RUNS = {
    "whole": lambda: synthetic_recording(layers=8, samples=20, diverged=True),
    "one": lambda: synthetic_recording(layers=1, samples=1, finished=False),
    "none": lambda: synthetic_recording(layers=0, samples=0),
    "hostile": lambda: synthetic_recording(layers=6, samples=12, prefix=HOSTILE),
    "deep": lambda: synthetic_recording(layers=100, samples=5, prefix="backbone.encoder.stages.3.blocks."),
}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Return the path of a run's page by name, written once."""
    folder = tmp_path_factory.mktemp("pages")

    def page(name):
        path = folder / f"{name}.html"
        return path if path.exists() else write_watch_html(RUNS[name](), path)

    return page


@pytest.fixture
def opened(visit, written):
    """Open a run's page by name."""
    return lambda name, *args, **options: visit(written(name), *args, **options)


@pytest.fixture
def shared(visit_once, written):
    """Open a run's page by name, once for all tests that leave it as it was."""
    return lambda name, *args: visit_once(written(name), *args)


@pytest.mark.parametrize(
    ("name", "width", "charts"), [("whole", 1280, 12), ("one", 360, 4), ("none", 360, 0), ("hostile", 360, 12)]
)
def test_draws_every_chart_and_fits_the_window(shared, name, width, charts):
    page = shared(name, width)
    assert page.locator(".chart").count() == page.locator("script[type='application/json']").count() == charts
    with_traces = "[...document.querySelectorAll('.chart')].filter(c => c.querySelector('.hm image, .trace path'))"
    assert page.evaluate(f"{with_traces}.length") == charts
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    wider = (
        "[...document.querySelectorAll('.chart')].filter(c => c.querySelector('.main-svg').clientWidth > c.clientWidth)"
    )
    assert page.evaluate(f"{wider}.length") == 0


@pytest.mark.slow
def test_every_layer_of_a_deep_net_has_a_label_that_does_not_meet_the_next(opened):
    page = opened("deep", 360)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    boxes = page.eval_on_selector_all(
        "#dead-title ~ .chart .ytick text", "all => all.map(e => [e.textContent, e.getBoundingClientRect().toJSON()])"
    )
    assert len({words for words, _ in boxes}) == 100
    edges = sorted((box["top"], box["bottom"]) for _, box in boxes)
    assert all(above[1] <= below[0] + 1 for above, below in pairwise(edges))


def test_the_pointer_shows_the_layer_the_step_and_the_slopes(shared):
    page = shared("whole")
    plot = page.locator("#slopes-title ~ .chart .nsewdrag").first
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.1)
    page.wait_for_selector("#slopes-title ~ .chart .hoverlayer text")
    words = page.locator("#slopes-title ~ .chart .hoverlayer").text_content()
    assert "block0.act" in words
    assert re.search(r"median 0\.\d+", words)
    assert re.search(r"step \d+", words)
    assert "%{" not in words


def test_users_names_are_inert_and_shown_as_they_are(shared):
    page = shared("hostile", 360)
    assert page.evaluate("window.hit") is None
    assert page.locator("main img").count() == 0
    assert f"{HOSTILE}1.act" in page.locator("section[aria-labelledby=alarms]").inner_text()
    plot = page.locator("#dead-title ~ .chart .nsewdrag").first
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.wait_for_selector("#dead-title ~ .chart .hoverlayer text")
    assert "<img src=x onerror='hit=1'>&amp;%{x}" in page.locator("#dead-title ~ .chart .hoverlayer").text_content()


def colours(page):
    return page.evaluate(
        """() => ({
            background: getComputedStyle(document.body).backgroundColor,
            tick: getComputedStyle(document.querySelector(".chart .xtick text")).fill,
            map: document.querySelector("#slopes-title ~ .chart .hm image").getAttribute("href").length
                + document.querySelector("#slopes-title ~ .chart .hm image").getAttribute("href"),
        })"""
    )


def test_dark_mode_recolours_page_and_maps_and_back(shared, recolours):
    page = shared("whole")
    recolours(page, colours)


def test_keyboard_reaches_the_alarms_first_and_every_table(opened):
    page = opened("whole", 360)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.matches('.skip')")
    skip = page.locator(".skip")
    assert skip.get_attribute("href") == "#main"
    assert skip.bounding_box()["x"] >= 0
    for summary in page.locator("figure summary").all():
        summary.focus()
        page.keyboard.press("Enter")
    tables = page.locator("main table").count()
    assert tables >= 20
    skip.focus()
    reached = set()
    for _ in range(200):
        page.keyboard.press("Tab")
        if label := page.evaluate(
            "document.activeElement.matches('[role=region]') && document.activeElement.ariaLabel"
        ):
            reached.add(label)
    assert len(reached) == tables


def test_headings_are_in_order_every_chart_has_a_label_and_every_link_a_target(shared):
    page = shared("whole")
    levels = [int(tag[1]) for tag in page.eval_on_selector_all("h1, h2, h3", "all => all.map(h => h.tagName)")]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert page.locator(".chart:not([role='img'][aria-label])").count() == 0
    assert page.locator("th:not([scope])").count() == 0
    ids = page.eval_on_selector_all("[id]", "all => all.map(e => e.id)")
    assert len(ids) == len(set(ids))
    assert set(page.eval_on_selector_all("a[href^='#']", "all => all.map(a => a.hash.slice(1))")) <= set(ids)


def test_words_can_be_read_on_their_ground(shared):
    """The contrast of text that WCAG 2.1 asks for, 4.5 to 1, in both colour schemes."""
    measure = """() => {
        const parse = (c) => (c.match(/[\\d.]+/g) || []).map(Number);
        const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
            .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
            .reduce((sum, v, k) => sum + v * [0.2126, 0.7152, 0.0722][k], 0);
        const ground = (e) => {
            for (; e; e = e.parentElement) {
                const c = parse(getComputedStyle(e).backgroundColor);
                if (c.length === 3 || c[3] > 0) return c;
            }
            return [255, 255, 255];
        };
        return [...document.querySelectorAll("main p, main th, main td, .badge, h1, h2, h3, dt, dd")].map((e) => {
            const pair = [light(parse(getComputedStyle(e).color)), light(ground(e))].sort((a, b) => b - a);
            return (pair[0] + 0.05) / (pair[1] + 0.05);
        });
    }"""
    page = shared("whole")
    assert min(page.evaluate(measure)) >= 4.5
    page.emulate_media(color_scheme="dark")
    dark = min(page.evaluate(measure))
    page.emulate_media(color_scheme="light")
    assert dark >= 4.5
