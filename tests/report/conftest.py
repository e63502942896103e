"""A real Chromium for the page's tests."""

import os
import shutil

import pytest


@pytest.fixture(scope="session")
def browser():
    """Chromium as installed on the system, else Playwright's own; where a CI machine has none, that is a failure."""
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
