"""Tables that hold a mean for each arm, as papers print them, instead of a row for each run."""

from __future__ import annotations

import re

from slopewise.analysis import Published
from slopewise.errors import TableError
from slopewise.support import quoted
from slopewise.tables._table import Table
from slopewise.tables._values import absent, to_names, to_numbers

_MEAN = ("mean", "average", "avg")
_SD = ("std", "sd", "stdev", "stddev", "std_dev", "standard deviation", "±")
_N = ("n", "runs", "seeds", "n_runs", "n_seeds", "count", "repeats")


def means_in(table: Table, arm: str | None = None, metric: str | None = None) -> dict[str, Published] | None:
    """Return what a table prints of each arm; None if it has no column of means, or several rows of an arm.

    Args:
        table: Table; its columns may be called mean, std and n, as in "acc_mean", or by the usual other words.
        arm: Column of the arms; by default the only other column, or the first of them that holds text.
        metric: Column of the means, or the metric whose columns are meant: "acc" for "acc_mean" and "acc_std".

    Raises:
        TableError: A cell is no number, a number of runs is not whole, or an arm has no mean.

    Example:
        >>> cells = {"activation": ["relu", "prelu"], "mean": [90.6, 91.2], "std": [0.3, 0.4], "n": [3, 3]}
        >>> means_in(Table("paper.csv", tuple(cells), cells.__getitem__, ("line 2", "line 3")))["relu"]
        Published(mean=90.6, sd=0.3, n=3)
    """
    mean, sd, n = (_column(table, words, metric) for words in (_MEAN, _SD, _N))
    if mean is None:
        return None
    others = [name for name in table.names if name not in (mean, sd, n)]
    texts = [name for name in others if any(map(_is_text, table.column(name)))]
    arm = arm or next(iter(texts if len(others) > 1 else others), None)
    if arm is None:
        return None
    names = to_names(table.column(arm), arm, table.places)
    if len(set(names)) < len(names):
        return None
    columns = [
        to_numbers(table.column(name), name, table.places) if name else [float("nan")] * len(names)
        for name in (mean, sd, n)
    ]
    means = {}
    for name, place, value, spread, runs in zip(names, table.places, *columns, strict=True):
        if absent(value):
            raise TableError(f"{table.name}: {quoted(name)} has no mean in {place}")
        if not absent(runs) and runs != round(runs):
            raise TableError(f"{table.name}: {quoted(n)} must be a whole number of runs, but is {runs:g} in {place}")
        bare = absent(spread) or absent(runs)
        means[name] = Published(value) if bare else Published(value, spread, int(runs))
    return means


def _column(table: Table, words: tuple[str, ...], metric: str | None) -> str | None:
    """Return the first column that is named by one of the words, alone or beside the name of the metric."""
    either = "|".join(map(re.escape, words))
    named = re.compile(rf"(?:{either})|(?P<before>.+)[ _](?:{either})|(?:{either})[ _](?P<after>.+)", re.IGNORECASE)
    for name in table.names:
        if match := named.fullmatch(name.strip()):
            stem = match["before"] or match["after"]
            if metric is None or stem is None or metric in (name, stem):
                return name
    return None


def _is_text(cell: object) -> bool:
    try:
        float(str(cell))
    except ValueError:
        return True
    return False
