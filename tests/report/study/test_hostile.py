"""Page of a study whose every text is hostile, in a real Chromium."""

import pytest

from slopewise.report import write_html

from ...hostile import BREAK, INERT, hostile_study


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    return write_html(hostile_study(), tmp_path_factory.mktemp("hostile") / "report.html")


def test_no_text_of_a_study_runs_or_becomes_an_element(visit, page_file):
    page = visit(page_file)
    page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
    page.mouse.wheel(0, 20_000)
    page.wait_for_timeout(500)
    assert page.evaluate("window.hit") is None
    assert page.evaluate(f"{INERT}.length") == 0
    assert page.evaluate("[...document.links].every(each => each.getAttribute('href').startsWith('#'))")
    text = page.locator("main").inner_text()
    assert text.count(BREAK) > 10  # it is all there, as text
    assert "49 %{x}" not in text
