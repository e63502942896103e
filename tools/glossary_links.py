"""The first use of each word of docs/glossary.md on a page is a link: to the glossary, or to a page about it.

Everyday words are not looked for (`_EVERYDAY`), nor are headings, tables, code and comments looked into. Without
`--check`, missing links are written; into docs/statistics.md they come from its template, where `--check` finds them
lacking.

    python tools/glossary_links.py --check
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
GLOSSARY = ROOT / "docs/glossary.md"
_LISTS = {"docs/README.md", "docs/glossary.md"}  # of pages, and of the words themselves
_FROM_TEMPLATE = "docs/statistics.md"
# They mean what they mean elsewhere, or are explained by the sentence that they stand in.
_EVERYDAY = {
    *(
        "ReLU",
        "PReLU",
        "channel",
        "unit",
        "dead",
        "step",
        "sample",
        "forward pass",
        "bounds",
        "kernel",
        "gain",
        "study",
    ),
    *(
        "seed",
        "rule",
        "alarm",
        "factor",
        "cell",
        "task",
        "floor",
        "target",
        "metric",
        "score",
        "point",
        "paired",
        "look",
        "store",
    ),
    *(
        "checkpoint",
        "worker",
        "finding",
        "evidence",
        "recording",
        "interval",
        "conversion",
        "tuning",
        "control",
        "power",
        "validation",
        "test",
        "nats",
        "generalisation gap",
        "leaky_relu",
        "converged",
    ),
    *("claim", "digest", "settled slope", "fused layer"),
}
_SKIPPED = re.compile(
    r"<!-- tools/.*?<!-- end.*?-->|^```.*?^ *```$|^ {3,}```.*?^ *```$|^---\n.*?^---$|<!--.*?-->|`[^`]*`|!?\[[^\]]*\]\([^)]*\)|^#.*?$|^\|.*?$|https?://\S+",
    re.MULTILINE | re.DOTALL,
)
_LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)", re.DOTALL)


def words() -> dict[str, str]:
    """Return the words of the glossary that pages must link, with their anchors."""
    found = {}
    for heading in re.findall(r"^### (.+)$", GLOSSARY.read_text(encoding="utf-8"), re.MULTILINE):
        anchor = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        found |= {word: anchor for word in heading.split(", ") if word not in _EVERYDAY}
    return found


def pages() -> list[Path]:
    """Return the pages that are looked at."""
    files = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [file for file in files if file.relative_to(ROOT).as_posix() not in _LISTS]


def missing(text: str) -> Iterator[tuple[int, int, str, str]]:
    """Yield start, end, word and anchor of each first use that is no link."""
    linked = " ".join(match[1] for match in _LINK.finditer(text)).lower()
    plain = _SKIPPED.sub(lambda match: re.sub(r"[^\n]", "\0", match[0]), text)
    taken: list[range] = []
    for word, anchor in sorted(words().items(), key=lambda item: -len(item[0])):
        pattern = re.compile(rf"(?<![\w-]){_flexible(word)}(?![\w-])", re.IGNORECASE)  # not within a claim's name
        use = next((use for use in pattern.finditer(plain) if not any(use.start() in span for span in taken)), None)
        if use:
            taken.append(range(*use.span()))
            if not pattern.search(linked):
                yield *use.span(), word, anchor


def _flexible(word: str) -> str:
    """Return a pattern of a word in singular and plural, which may stand on two lines."""
    stem = r"\s+".join(map(re.escape, word.split()))
    return rf"{stem}(?:s|d|'s)?"


def with_links(path: Path, text: str) -> str:
    """Return a page with a link at each first use."""
    glossary = os.path.relpath(GLOSSARY, path.parent).replace(os.sep, "/")
    for start, end, _, anchor in sorted(missing(text), reverse=True):
        text = f"{text[:start]}[{text[start:end]}]({glossary}#{anchor}){text[end:]}"
    return text


def main() -> None:
    """Check the pages, or write the links."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a link is missing")
    check = parser.parse_args().check
    faults = []
    for path in pages():
        text = path.read_text(encoding="utf-8")
        for start, _, word, anchor in missing(text):
            line = text.count("\n", 0, start) + 1
            faults.append(f"{path.relative_to(ROOT)}:{line}: link the first '{word}' to the glossary (#{anchor})")
        if not check and path != ROOT / _FROM_TEMPLATE:
            path.write_text(with_links(path, text), encoding="utf-8")
    if check and faults:
        raise SystemExit("\n".join([*faults, "python tools/glossary_links.py writes the links"]))


if __name__ == "__main__":
    main()
