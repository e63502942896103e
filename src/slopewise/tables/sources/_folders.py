"""Folders of runs, whose names say arm and seed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from slopewise.errors import TableError, listed
from slopewise.support import quoted


def matched(folders: Iterable[Path], root: Path, pattern: str) -> Iterator[tuple[Path, dict[str, str]]]:
    """Yield the folders whose path below the root is of a pattern, with the fields that the pattern names.

    A field stands for the shortest text that fits, without a separator of folders.

    Args:
        folders: Folders of runs.
        root: Folder that the pattern starts from.
        pattern: Pattern such as "{arm}/seed{seed}".

    Raises:
        TableError: The pattern has no field, or fits no folder.

    Example:
        >>> [fields for _, fields in matched([Path("runs/relu/seed3")], Path("runs"), "{arm}/seed{seed}")]
        [{'arm': 'relu', 'seed': '3'}]
    """
    parts = re.split(r"\{([A-Za-z_]\w*)\}", pattern.strip("/"))
    fields = parts[1::2]
    if "arm" not in fields or len(set(fields)) < len(fields):
        raise TableError(
            f"runs: the pattern {quoted(pattern)} must name {{arm}}, and each field once: '{{arm}}/seed{{seed}}'"
        )
    expression = re.compile(
        "".join(re.escape(part) if k % 2 == 0 else f"(?P<{part}>[^/]+?)" for k, part in enumerate(parts))
    )
    names = []
    hits = 0
    for folder in folders:
        name = folder.relative_to(root).as_posix()
        names.append(name)
        if fit := expression.fullmatch(name):
            hits += 1
            yield folder, fit.groupdict()
    if not hits:
        raise TableError(f"runs: the pattern {quoted(pattern)} fits none of the folders with runs: {listed(names)}")
