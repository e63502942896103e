"""The sources of the documentation's site, written to build/pages from the Markdown files as they are.

Links lead to pages of the site wherever they lead to files of the repository: each linked file of another kind becomes
a page that shows it, so that nothing depends on an address. docs/README.md has the order of the pages.

PYTHONPATH=tools python -m docs_site.pages   # writes build/pages and build/mkdocs.yml
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from docs_site import reference

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build"
CONTENTS = "docs/README.md"
PAGES = {"README.md": "index.md", "CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}
IMAGES = {".png", ".svg"}
LANGUAGES = {".py": "python", ".toml": "toml", ".sh": "bash", ".md": "markdown", "": "text"}  # others are copied

# A code block or a code span is left as it is; else a link's text, its target, and what may follow.
_LINK = re.compile(
    r"^(?P<fence>`{3,}|~{3,})[^\n]*\n.*?^(?P=fence)[ ]*$|(?P<ticks>`+)[^`].*?(?P=ticks)"
    r"|(?P<text>\[(?:[^\[\]]|\[[^\]]*\])*\]\()(?P<target>[^()\s]+)(?P<end>(?:\s+\"[^\"]*\")?\))",
    re.MULTILINE | re.DOTALL,
)
_ENTRY = re.compile(r"^(?:## (?P<section>.+)|- \[(?P<title>.+?)\]\((?P<link>[^)]+)\).*)$", re.MULTILINE)


def markdown_files() -> list[str]:
    """Return the Markdown files that are pages as they are."""
    return [*PAGES, *sorted(file.relative_to(ROOT).as_posix() for file in (ROOT / "docs").rglob("*.md"))]


def site_path(path: str) -> str:
    """Return where the site has a file or a folder of the repository: as a page, or as it is."""
    if path in PAGES:
        return PAGES[path]
    if path == CONTENTS:
        return "contents.md"
    if path.startswith("docs/") and PurePosixPath(path).suffix in {".md", *IMAGES}:
        return path.removeprefix("docs/")
    if (ROOT / path).is_dir():
        return f"files/{path}/index.md"
    return f"files/{path}{'.md' * (PurePosixPath(path).suffix in LANGUAGES)}"


def linked(path: str, target: str) -> str:
    """Return the file or folder of the repository that a link in a file leads to."""
    return Path(os.path.normpath(PurePosixPath(path).parent / target)).as_posix()


def rewritten(path: str, text: str, linked_files: set[str]) -> str:
    """Return a page's text with its links as they are on the site, and add what they lead to."""

    def link(match: re.Match[str]) -> str:
        target, _, anchor = (match["target"] or "").partition("#")
        if not target or re.match(r"[a-z]+:", target):
            return match[0]
        file = linked(path, target)
        if not (ROOT / file).exists():
            raise SystemExit(f"{path}: no file {file}, which it links to")
        linked_files.add(file)
        place = os.path.relpath(site_path(file), PurePosixPath(site_path(path)).parent)
        return f"{match['text']}{place}{'#' * bool(anchor)}{anchor}{match['end']}"

    return _LINK.sub(link, text)


def shown(path: str, linked_files: set[str]) -> str:
    """Return a page that shows a file, or what a folder has."""
    head = f"---\nsearch:\n  exclude: true\n---\n\n# `{path}`\n\n"
    if (ROOT / path).is_dir():
        files = [file for file in sorted((ROOT / path).rglob("*.*")) if file.suffix in LANGUAGES]
        names = [file.relative_to(ROOT).as_posix() for file in files]
        linked_files.update(names)
        items = (f"- [`{name.removeprefix(path + '/')}`]({name.removeprefix(path + '/')}.md)" for name in names)
        return head + "\n".join(items) + "\n"
    text = (ROOT / path).read_text(encoding="utf-8")
    fence = "`" * max(3, *(len(run) + 1 for run in re.findall("`{2,}", text)), 0)
    return f"{head}{fence}{LANGUAGES[PurePosixPath(path).suffix]}\n{text.rstrip()}\n{fence}\n"


def navigation() -> list[dict[str, object]]:
    """Return the order of the pages: that of docs/README.md, the pages of a folder below its README, the reference."""
    sections: dict[str, list[object]] = {}
    for match in _ENTRY.finditer((ROOT / CONTENTS).read_text(encoding="utf-8")):
        if match["section"]:
            sections[match["section"]] = entries = []
            continue
        file = linked(CONTENTS, match["link"])
        is_folder = file.startswith("docs/") and PurePosixPath(file).name == "README.md"
        below = [site_path(page) for page in _beside(file)] if is_folder else []
        entries.append({match["title"]: [site_path(file), *below] if below else site_path(file)})
    entries.append({"All pages": site_path(CONTENTS)})
    return [*({title: pages} for title, pages in sections.items()), {"API": ["reference/index.md", *_modules()]}]


def _beside(readme: str) -> Iterator[str]:
    """Yield the pages beside a folder's README in the order in which it links to them."""
    folder = PurePosixPath(readme).parent
    text = (ROOT / readme).read_text(encoding="utf-8")
    links = dict.fromkeys(match["target"].partition("#")[0] for match in _LINK.finditer(text) if match["target"])
    yield from (f"{folder}/{link}" for link in links if "/" not in link and link.endswith(".md"))


def _modules() -> Iterator[object]:
    """Yield the modules of the reference, the inner ones in a section of their own."""
    inner: list[object] = []
    for module in reference.documented():
        entry = {module.removeprefix("slopewise."): reference.path_of(module)}
        if reference.is_inner(module):
            inner.append(entry)
        else:
            yield entry
    yield {"Inner rooms": inner}


def main() -> None:
    """Write the sources."""
    pages = BUILD / "pages"
    shutil.rmtree(pages, ignore_errors=True)
    waiting, written = set(markdown_files()), set()
    while waiting:
        path = min(waiting)
        place = pages / site_path(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.suffix != ".md":
            shutil.copyfile(ROOT / path, place)
        elif path in markdown_files():
            place.write_text(rewritten(path, (ROOT / path).read_text(encoding="utf-8"), waiting), encoding="utf-8")
        else:
            place.write_text(shown(path, waiting), encoding="utf-8")
        written.add(path)
        waiting -= written
    for name, text in reference.pages().items():
        (pages / name).parent.mkdir(exist_ok=True)
        (pages / name).write_text(text, encoding="utf-8")
    for asset in ("style.css", "iframe-worker.js"):
        shutil.copyfile(Path(__file__).with_name(asset), pages / asset)
    settings = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    order = json.dumps(navigation(), indent=1)  # JSON is YAML
    (BUILD / "mkdocs.yml").write_text(f"{settings}\nnav: {order}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
