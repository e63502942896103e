"""Page of a study in a real Chromium, opened as a file."""

from itertools import pairwise

import pytest

from slopewise.report import write_html
from slopewise.testing import synthetic_study, with_cells

HOSTILE = (
    "relu",
    "<script>hit=1</script>",
    '<img src=x onerror="hit=1">',
    "</script><script>hit=1</script>",
    "<b>bold</b> %{x} &amp; {{ 7 * 7 }}",
    "prelu_" + "a" * 54,
)


def designs():
    study = synthetic_study(looks=(4, 6), epochs=3, diverged={"leaky_relu": 1})
    factors = {"model.options.batch_norm": [True], "train.epochs": [2, 9]}
    return with_cells(study, tune=[0.1, 0.01, 3.0], lr=[0.01, 0.1, 3.0], factors=factors)


def study_of(name):
    return {
        "designs": designs,
        "default": lambda: synthetic_study(seeds=4, epochs=4),
        "diverged": lambda: synthetic_study(seeds=4, epochs=4, diverged={"prelu_shared": 3}),
        "hostile": lambda: synthetic_study(HOSTILE, seeds=3, epochs=2, diverged={HOSTILE[1]: 1}),
    }[name]()


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Return the path of a study's page by name, written once."""
    folder = tmp_path_factory.mktemp("pages")

    def page(name):
        path = folder / f"{name}.html"
        return path if path.exists() else write_html(study_of(name), path)

    return page


@pytest.fixture
def opened(visit, written):
    """Open a study's page by name."""
    return lambda name, *args, **options: visit(written(name), *args, **options)


@pytest.fixture
def shared(visit_once, written):
    """Open a study's page by name, once for all tests that leave it as it was."""
    return lambda name, *args: visit_once(written(name), *args)


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("name", ["default", "diverged", "hostile", "designs"])
def test_draws_every_chart_and_fits_the_window(shared, name, width):
    page = shared(name, width)
    figures = page.locator("script[type='application/json']").count()
    with_traces = page.evaluate(
        "[...document.querySelectorAll('.chart')]"
        ".filter(c => c.querySelector('.trace path, .trace .point, .hm image')).length"
    )
    assert with_traces == figures == page.locator(".chart").count() >= 9
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    wider = (
        "[...document.querySelectorAll('.chart')].filter(c => c.querySelector('.main-svg').clientWidth > c.clientWidth)"
    )
    assert page.evaluate(f"{wider}.length") == 0


def test_the_table_of_the_answer_is_seen_whole_on_a_laptop(shared):
    table = shared("designs", 1280).locator("#answer ~ .scroll table").first
    assert "Final slopes" in " ".join(table.inner_text().split())
    assert table.evaluate("table => table.offsetWidth <= table.parentElement.clientWidth")


def test_hostile_names_are_inert_and_shown_as_they_are(shared):
    page = shared("hostile")
    assert page.evaluate("window.hit") is None
    assert page.locator("main script:not([type='application/json']), main img").count() == 0
    labels = "\n".join(page.locator("#differences-title ~ .chart .annotation-text").all_text_contents())
    assert "<script>hit=1</script>" in labels
    assert "<b>bold</b> %{x} &amp; {{ 7 *" in labels
    assert HOSTILE[4] in page.locator("#answer ~ .answers").inner_text()


def test_an_injected_script_is_refused_by_the_policy(browser, written):
    context = browser.new_context()
    page = context.new_page()
    page.goto(written("default").as_uri())
    page.evaluate(
        "document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.hit = 1'}))"
    )
    assert page.evaluate("window.hit") is None
    context.close()


def colours(page):
    return page.evaluate(
        """() => {
            const of = (selector, property) => getComputedStyle(document.querySelector(selector))[property];
            return {
                background: of("body", "backgroundColor"),
                tick: of(".chart .xtick text", "fill"),
                line: of("#score-title ~ .chart .js-line[style*='stroke-width: 2']", "stroke"),
            };
        }"""
    )


def test_dark_mode_recolours_page_and_charts_and_back(shared, recolours):
    page = shared("default")
    recolours(page, colours)


def test_keyboard_reaches_the_skip_link_first_and_opens_details(opened):
    page = opened("default")
    page.keyboard.press("Tab")
    skip = page.locator(":focus")
    assert skip.get_attribute("href") == "#main"
    assert skip.bounding_box()["x"] >= 0
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    details = page.locator("#differences-title ~ details")
    details.locator("summary").focus()
    page.keyboard.press("Enter")
    assert details.get_attribute("open") is not None
    assert details.locator("tbody tr").count() == 4


def test_legend_switches_an_arm_in_all_charts_by_keyboard(shared):
    page = shared("default")
    lines = page.locator("#score-title ~ .chart .scatterlayer .trace")
    before = lines.count()
    button = page.locator("button.arm", has_text="frozen_slope").first
    button.focus()
    page.keyboard.press("Enter")
    assert page.locator("button.arm[aria-pressed='false']").count() > 1
    assert lines.count() == before - 4  # its line, its band and the edges of the band
    page.keyboard.press("Enter")
    assert lines.count() == before
    assert page.locator("button.arm[aria-pressed='false']").count() == 0


def test_prints_dark_pages_as_light_ones_and_charts_follow_the_width_of_the_window(opened):
    page = opened("default", color_scheme="dark")
    dark = colours(page)
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert colours(page)["tick"] != dark["tick"]
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert colours(page) == dark
    page.set_viewport_size({"width": 390, "height": 900})
    page.wait_for_function(
        "[...document.querySelectorAll('.chart')].every(c => c.querySelector('.main-svg').clientWidth <= c.clientWidth)"
    )
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize("name", ["diverged", "designs"])
def test_headings_are_in_order_and_every_chart_has_a_label(shared, name):
    page = shared(name)
    levels = [int(tag[1]) for tag in page.eval_on_selector_all("h1, h2, h3", "all => all.map(h => h.tagName)")]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert page.locator(".chart:not([role='img'][aria-label])").count() == 0
    ids = page.eval_on_selector_all("[id]", "all => all.map(e => e.id)")
    assert len(ids) == len(set(ids))
    assert set(page.eval_on_selector_all("a[href^='#']", "all => all.map(a => a.hash.slice(1))")) <= set(ids)


def test_seeds_off_the_scale_are_counted_in_the_chart(shared):
    page = shared("diverged")
    labels = page.locator("#differences-title ~ .chart .annotation-text").all_text_contents()
    assert "3 off scale" in labels
    assert any("prelu_shared" in label and "3 of 4 diverged" in label for label in labels)
