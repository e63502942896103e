"""Words of docs/glossary.md for the pages, which explain them offline, so that both have one text.

python tools/glossary.py           # writes src/slopewise/drawing/templates/glossary.json
python tools/glossary.py --check   # fails if the file is not what this would write
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE, FILE = ROOT / "docs" / "glossary.md", ROOT / "src" / "slopewise" / "drawing" / "templates" / "glossary.json"
_ENTRY = re.compile(r"^### (?P<word>.+)\n\n(?P<meaning>(?:.+\n)+)", re.MULTILINE)


def glossary(text: str) -> dict[str, str]:
    """Return the meaning of each word, without the marks of links and code."""
    return {entry["word"]: _plain(" ".join(entry["meaning"].split())) for entry in _ENTRY.finditer(text)}


def _plain(text: str) -> str:
    return re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", text).replace("`", "")


def main(*arguments: str) -> None:
    written = json.dumps(glossary(SOURCE.read_text(encoding="utf-8")), indent=0, ensure_ascii=False) + "\n"
    if "--check" in arguments:
        if FILE.read_text(encoding="utf-8") != written:
            sys.exit(f"{FILE.relative_to(ROOT)} is not made of docs/glossary.md: run python tools/glossary.py")
        return
    FILE.write_text(written, encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
