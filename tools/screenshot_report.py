"""Pictures of a report page for the docs: sections of it, as a browser shows them.

python tools/screenshot_report.py study/report.html docs/images
python tools/screenshot_report.py textbook-digits/report.html docs/studies/textbook-digits seeds tuning maps factors
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

SECTIONS = ("seeds", "learning", "slopes")  # headings on the page


def main(page: Path, folder: Path, *sections: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-background-networking"]
        )
        tab = browser.new_page(viewport={"width": 1100, "height": 900}, color_scheme="light")
        tab.goto(page.resolve().as_uri())
        tab.wait_for_timeout(2000)
        for section in sections or SECTIONS:
            tab.locator(f"section[aria-labelledby={section}]").screenshot(path=folder / f"{section}.png")
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
