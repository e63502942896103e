"""Pages read in two ways: parsed as text, and shown by a real Chromium."""

import os
import re
import shutil
from html.parser import HTMLParser

import pytest


class Parsed(HTMLParser):
    """Text of a page outside scripts, its scripts, its policy, and every attribute that could load something."""

    def __init__(self, html):
        super().__init__()
        self.text, self.policy = "", ""
        self.tags, self.scripts, self.data, self.references = [], [], [], []
        self._into = None
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.tags.append((tag, *given))
        if tag == "script":
            self._into = self.data if given.get("type") == "application/json" else self.scripts
            self._into.append("")
        if given.get("http-equiv") == "Content-Security-Policy":
            self.policy = given["content"]
        self.references += [given[name] for name in ("src", "href", "srcset", "action") if name in given]

    def handle_endtag(self, tag):
        if tag == "script":
            self._into = None

    def handle_data(self, text):
        if self._into is None:
            self.text += text.replace("\u00a0", " ")
        else:
            self._into[-1] += text


@pytest.fixture(scope="session")
def parse():
    """Return the parser of a page."""
    return Parsed


@pytest.fixture(scope="session")
def browser():
    """Start the system's Chromium, or Playwright's own; without one, a CI machine fails and others skip the test."""
    sync_api = pytest.importorskip("playwright.sync_api")
    executable = shutil.which("chromium") or shutil.which("chromium-browser")
    quiet = [
        "--no-sandbox",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-default-apps",
        "--disable-sync",
        "--no-first-run",
    ]
    with sync_api.sync_playwright() as playwright:
        try:
            chromium = playwright.chromium.launch(executable_path=executable, args=quiet)
        except sync_api.Error as error:
            if os.environ.get("CI"):
                pytest.fail(f"no Chromium on a CI machine: {error}")
            pytest.skip("no Chromium: install the `chromium` package or run `playwright install chromium`")
        yield chromium
        chromium.close()


class Visits:
    """Pages that are open in a browser, and what they complained of or asked for."""

    def __init__(self, browser):
        self.browser, self.contexts, self.trouble = browser, [], []

    def open(self, path, width=1280, **options):
        """Open a file, and wait until its charts are drawn."""
        context = self.browser.new_context(viewport={"width": width, "height": 900}, **options)
        self.contexts.append(context)
        page = context.new_page()
        uri = path.as_uri()
        page.on("console", lambda message: self.trouble.append(f"console {message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.trouble.append(f"page error: {error}"))
        page.on("request", lambda request: request.url == uri or self.trouble.append(f"request: {request.url}"))
        page.goto(uri)
        drawn = (
            "[...document.querySelectorAll('.chart')].every(c => c.clientWidth === 0 || c.querySelector('.main-svg'))"
        )
        page.wait_for_function(drawn)
        return page

    def close(self):
        for context in self.contexts:
            context.close()


@pytest.fixture
def visit(browser):
    """Open a file in the browser, and check at the end that there were no messages and no requests."""
    visits = Visits(browser)
    yield visits.open
    visits.close()
    assert visits.trouble == []


@pytest.fixture(scope="module")
def _shared_visits(browser):
    visits, pages = Visits(browser), {}
    yield visits, pages
    visits.close()


@pytest.fixture
def visit_once(_shared_visits):
    """Open a file for all tests of a module, which leave the page as they found it; check as `visit` does."""
    visits, pages = _shared_visits

    def open_page(path, width=1280):
        if (path, width) not in pages:
            pages[path, width] = visits.open(path, width)
        return pages[path, width]

    yield open_page
    trouble = visits.trouble.copy()
    visits.trouble.clear()  # which is not the next test's
    assert trouble == []


@pytest.fixture(scope="session")
def recolours():
    """Check that the colours of `colours(page)` change in the dark scheme, and change back in the light one."""

    def check(page, colours):
        light = colours(page)
        ticks_differ = "before => getComputedStyle(document.querySelector('.chart .xtick text')).fill !== before"
        page.emulate_media(color_scheme="dark")
        page.wait_for_function(ticks_differ, arg=light["tick"])
        dark = colours(page)
        assert all(dark[part] != light[part] for part in light)
        assert sum(map(int, re.findall(r"\d+", dark["background"])[:3])) < 150
        page.emulate_media(color_scheme="light")
        page.wait_for_function(ticks_differ, arg=dark["tick"])
        assert colours(page) == light

    return check
