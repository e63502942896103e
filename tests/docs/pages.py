"""Code blocks of the documentation, and what has to be beside them when they run.

Well-kept tools exist (pytest-examples, Sybil, mktestdocs). They make a test of each block, and pytest-xdist hands
tests to several processes: the blocks of a page, which share their names, would be torn apart. None of them runs shell
blocks without a shell, which here take a process that has imported PyTorch already.
"""

from __future__ import annotations

import re
import shlex
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = ["README.md", *sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md"))]
LANGUAGES = {"python": "python", "bash": "shell", "sh": "shell"}

# A comment before a block is not shown; what stands on its first line as a file's name is written there.
_BLOCK = re.compile(
    r"(?:^ *<!-- not run: (?P<reason>[^\n]+) -->\n+)?"
    r"^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
_FILE = re.compile(r"# ([\w-]+\.(?:py|toml|csv))\b")


@dataclass(frozen=True)
class Block:
    """A block of a page: its language, text, line, the file that it is, and the reason why it is not run."""

    page: str
    line: int
    language: str
    text: str
    file: str | None
    reason: str | None

    def commands(self) -> Iterator[list[str]]:
        """Yield the commands of a shell block as words, without comments."""
        for line in self.text.replace("\\\n", " ").splitlines():
            if words := shlex.split(line, comments=True):
                yield words


def blocks(page: str) -> list[Block]:
    """Return all blocks of a page, whatever their language."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found = []
    for match in _BLOCK.finditer(text):
        file = _FILE.match(match["text"])
        line = text.count("\n", 0, match.start("text"))
        language = LANGUAGES.get(match["language"], match["language"])
        found.append(Block(page, line, language, textwrap.dedent(match["text"]), file and file[1], match["reason"]))
    return found
