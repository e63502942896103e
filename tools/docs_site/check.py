"""Checks of the built site: what mkdocs itself does not look at.

Every public name is documented exactly once; every link within the site leads to a page and an anchor; no page loads
anything from elsewhere.

PYTHONPATH=tools python -m docs_site.check build/site
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from docs_site.public_names import homes
from docs_site.reference import documented, here, identifier

_LOADED = {("script", "src"), ("img", "src"), ("iframe", "src"), ("link", "href"), ("source", "src")}


class Page(HTMLParser):
    """The anchors, the links and the loaded files of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: Counter[str] = Counter()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what a tag defines or refers to."""
        for name, value in attrs:
            if name == "id" and value:
                self.anchors[value] += 1
            elif tag == "a" and name == "href" and value:
                self.links.append(value)
            elif (tag, name) in _LOADED and value:
                self.loaded.append(value)


def check(site: Path) -> Iterator[str]:
    """Yield a message for each fault."""
    pages = {file: Page(file.read_text(encoding="utf-8")) for file in sorted(site.rglob("*.html"))}
    for file, page in pages.items():
        place = file.relative_to(site)
        if place.name == "404.html":  # its links are relative to wherever it is shown
            continue
        yield from (f"{place}: loads {url}" for url in page.loaded if urlsplit(url).netloc)
        for link in dict.fromkeys([*page.links, *page.loaded]):
            if fault := _fault(file, link, pages):
                yield f"{place}: {link} leads to no {fault}"
    yield from _names(site, pages)


def _fault(file: Path, link: str, pages: dict[Path, Page]) -> str:
    """Return what a link of a page does not lead to, "" if all is well."""
    url = urlsplit(link)
    if url.scheme or url.netloc:
        return ""
    target = Path(os.path.normpath(file.parent / unquote(url.path))) if url.path else file
    if target.is_dir():
        target /= "index.html"
    if not target.is_file():
        return "file"
    anchor = unquote(url.fragment)
    known = target not in pages or not anchor or anchor.startswith("__") or pages[target].anchors[anchor]
    return "" if known else "anchor"


def _names(site: Path, pages: dict[Path, Page]) -> Iterator[str]:
    """Yield a message for each public name that is not documented once."""
    shown = Counter[str]()
    for file, page in pages.items():
        if file.parent == site / "reference":
            shown += page.anchors
    paths = {f"{module}.{name}": identifier(module, name) for module in documented() for name in here(module)}
    at_home = {home for target, home in homes().items() if target.kind != "module"}
    yield from (f"{name}: on no page of the reference" for name in sorted(at_home - paths.keys()))
    for name, anchor in paths.items():
        if shown[anchor] != 1:
            yield f"{name}: {shown[anchor]} times in the reference"


def main() -> None:
    """Check a site."""
    messages = list(check(Path(sys.argv[1]).resolve()))
    if messages:
        raise SystemExit("\n".join(messages))


if __name__ == "__main__":
    main()
