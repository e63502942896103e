"""The pages in a real Chromium, while what they show goes on."""

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from slopewise.live import make_app
from slopewise.monitor import Alarm
from slopewise.recording import to_line

pytestmark = pytest.mark.slow

DRAWN = "[...document.querySelectorAll('.chart')].every(c => c.clientWidth === 0 || c.querySelector('.main-svg'))"
STEPS = "document.querySelector('#gradients-title ~ .chart').data[0].x.length"

RANGE = "document.querySelector('#gradients-title ~ .chart')._fullLayout.yaxis.range"


def zoom(page, chart: str) -> None:
    """As a reader does it: with the button and the mouse."""
    plot = page.locator(f"{chart} .nsewdrag").first
    plot.hover()
    page.locator(f"{chart} .modebar-btn[data-title='Zoom']").click()
    box = plot.bounding_box()
    page.mouse.move(box["x"] + 20, box["y"] + 0.4 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.8 * box["height"], steps=5)
    page.mouse.up()


def until(page, expression: str, seconds: float = 30) -> None:
    """Wait for something to hold; Playwright's own way would need `eval`, which the pages' policy forbids."""
    deadline = time.monotonic() + seconds
    while not page.evaluate(expression):
        assert time.monotonic() < deadline, expression
        page.wait_for_timeout(50)


def run_path(folder: Path) -> str:
    listing = TestClient(make_app(folder), base_url="http://127.0.0.1").get("/").text
    (path,) = re.findall(r'href="/(runs/\w+)"', listing)
    return path


def test_new_samples_come_without_a_reload_and_disturb_nobody(looking, growing, tmp_path: Path) -> None:
    source = growing(tmp_path / "run.jsonl", layers=6, samples=12, alarms=False)
    source.write(5)

    def look(page) -> None:
        until(page, DRAWN)
        page.evaluate("window.kept = 1")
        assert page.evaluate(STEPS) == 4
        assert page.locator("header .state").inner_text().strip() == "live"
        zoom(page, "#gradients-title ~ .chart")
        seen = page.evaluate(RANGE)
        assert seen != [5.5, -0.5]
        details = page.locator("#slopes-title ~ details")
        details.locator("summary").click()
        place = details.bounding_box()["y"]
        source.write(3)
        until(page, f"{STEPS} === 7")
        assert details.get_attribute("open") is not None
        assert details.locator("thead th").count() == 8
        assert page.evaluate("document.activeElement.parentNode === document.querySelector('#slopes-title ~ details')")
        assert abs(details.bounding_box()["y"] - place) < 2  # though charts have come above it
        assert page.evaluate(RANGE) == seen
        assert page.locator("#said").inner_text() == ""
        source.left.insert(0, to_line(Alarm("slope-stuck", "block5.act", 301, 1, "all 16 are 0.25")))
        source.write(1)
        until(page, "document.getElementById('said').textContent === '1 new alarm'")
        assert "slope-stuck" in page.locator("#alarms-section").inner_text()
        assert page.evaluate("window.kept") == 1
        source.write()
        until(page, "document.querySelector('header .state').textContent.trim().startsWith('ended')")
        assert "ended" in page.locator("#said").inner_text()
        assert page.evaluate("window.kept") == 1

    looking(look, run_path(tmp_path))


def test_charts_come_with_the_first_sample(looking, growing, tmp_path: Path) -> None:
    source = growing(tmp_path / "run.jsonl", layers=3, samples=3)
    source.write(1)

    def look(page) -> None:
        assert page.locator(".chart").count() == 0
        source.write()
        until(page, "document.querySelectorAll('.chart .main-svg').length > 0")
        until(page, DRAWN)
        assert page.locator(".chart").count() == page.locator("script[type='application/json']").count() >= 8
        assert page.evaluate("[...document.querySelectorAll('[id]')].every(e => e === document.getElementById(e.id))")

    looking(look, run_path(tmp_path))


def test_a_server_that_was_gone_is_found_again(looking, serving, growing, tmp_path: Path) -> None:
    source = growing(tmp_path / "run.jsonl", layers=2, samples=4, finished=False)
    source.write(3)

    def look(page) -> None:
        until(page, f"{DRAWN} && {STEPS} === 2")
        assert not page.locator("#connection").is_visible()
        serving.stop()
        until(page, "document.getElementById('connection').textContent.includes('No answer from slopewise')")
        assert page.locator("#connection").is_visible()
        source.write()
        serving.start()
        until(page, f"{STEPS} === 4")
        assert page.locator("#connection").inner_text() == ""
        source.path.unlink()
        until(page, "document.getElementById('connection').textContent.includes('no longer in the folder')")

    looking(look, run_path(tmp_path), allowed="Failed to load resource")


def test_the_listing_follows_and_fits_a_narrow_dark_window(looking, growing, tmp_path: Path) -> None:
    source = growing(tmp_path / ("long-" * 12) / "run.jsonl", layers=2, samples=3)
    source.path.parent.mkdir()

    def look(page) -> None:
        assert "Nothing here yet" in page.locator("main").inner_text()
        source.write(2)
        page.locator("tr", has_text="step 1").wait_for()
        link = page.locator("tbody a")
        link.focus()
        source.write()
        page.locator("tr", has_text="ended").wait_for()
        assert page.evaluate("document.activeElement.localName") == "a"
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
        link.press("Enter")
        until(page, f"document.querySelector('.chart') && {DRAWN}")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        tick = "getComputedStyle(document.querySelector('.chart .xtick text')).fill"
        before = page.evaluate(tick)
        page.emulate_media(color_scheme="light")
        until(page, f"{tick} !== '{before}'")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") != dark

    looking(look, viewport={"width": 390, "height": 800}, color_scheme="dark")


def test_a_page_that_nobody_sees_asks_for_nothing(looking, growing, tmp_path: Path) -> None:
    growing(tmp_path / "run.jsonl", layers=1, samples=2, finished=False).write()

    def look(page) -> None:
        page.evaluate("Object.defineProperty(document, 'hidden', {get: () => window.away, configurable: true})")
        page.evaluate("window.away = true")
        page.wait_for_timeout(500)  # an answer that was under way
        asked = []
        page.on("request", lambda request: asked.append(request.url))
        page.wait_for_timeout(3000)
        assert asked == []
        with page.expect_response(lambda answer: answer.status == 304):
            page.evaluate("window.away = false; document.dispatchEvent(new Event('visibilitychange'))")

    looking(look, run_path(tmp_path))


def test_a_study_is_followed_to_its_end(looking, tmp_path: Path) -> None:
    # Trials must last until the page has seen one at work.
    tiny = ["--train-size", "100", "--epochs", "80", "--set", "model.options.width=4", "--workers", "1"]
    arms = ["--arms", "relu,prelu_channel", "--seeds", "1"]
    command = [sys.executable, "-m", "slopewise", "run", *tiny, *arms, "--out", str(tmp_path / "study")]

    def look(page) -> None:
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as study:
            page.locator("tbody a").click(timeout=120_000)
            until(page, "document.querySelector('header .state').textContent.trim() === 'live'", seconds=60)
            page.evaluate("window.kept = 1")
            page.locator("#now ~ .scroll tbody tr").first.wait_for(timeout=60_000)
            until(page, "document.querySelector('header .state').textContent.trim().startsWith('ended')", seconds=120)
            _, words = study.communicate()
            assert study.returncode == 0, words
        assert page.evaluate("window.kept") == 1
        assert "2 of 2 trials" in page.locator("header .progress").inner_text().replace("\u00a0", " ")
        assert page.locator(".arms tbody tr").count() == 2
        until(page, f"document.querySelector('#score-title ~ .chart') && {DRAWN}")
        lines = page.locator("#score-title ~ .chart .scatterlayer .trace")
        before = lines.count()
        page.locator("button.arm", has_text="prelu_channel").click()
        until(page, f"document.querySelectorAll('#score-title ~ .chart .trace').length < {before}")
        page.locator("header a", has_text="Full report").click(timeout=30_000)
        page.locator("#differences-title ~ .chart .main-svg").first.wait_for()  # its scripts run in their sandbox

    looking(look)
