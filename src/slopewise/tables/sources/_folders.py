"""Names of runs that say arm and seed."""

from __future__ import annotations

import re
from collections.abc import Iterable

from slopewise.errors import TableError, listed
from slopewise.support import quoted


def matched(runs: Iterable[str], pattern: str) -> dict[str, dict[str, str]]:
    """Return the fields that a pattern names, by the name of a run; runs that it does not fit are left out.

    A field stands for the shortest text that fits, without a separator of folders.

    Args:
        runs: Names of runs, such as paths of their folders below the one that is read.
        pattern: Pattern such as "{arm}/seed{seed}".

    Raises:
        TableError: The pattern does not name the arm, or fits no run.

    Example:
        >>> matched(["relu/seed3", "elu/seed3", "old"], "{arm}/seed{seed}")
        {'relu/seed3': {'arm': 'relu', 'seed': '3'}, 'elu/seed3': {'arm': 'elu', 'seed': '3'}}
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
    names = list(runs)
    fits = {name: fit.groupdict() for name in names if (fit := expression.fullmatch(name))}
    if not fits:
        raise TableError(f"runs: the pattern {quoted(pattern)} fits none of the runs: {listed(names)}")
    return fits
