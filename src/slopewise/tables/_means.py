"""Tables that hold a mean for each arm, as papers print them, instead of a row for each run."""

from __future__ import annotations

import re
from collections.abc import Sequence

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

    Deviations and numbers of runs are those of the metric whose means are read: columns with the same name beside the
    word, or with the word alone.

    Args:
        table: Table; its columns may be called mean, std and n, as in "acc_mean", or by the usual other words.
        arm: Column of the arms; by default the only other column, or the first of them that holds text.
        metric: Column of the means, or the metric whose columns are meant: "acc" for "acc_mean" and "acc_std". It may
            be left out if there are means of one metric.

    Raises:
        TableError: A cell is no number, a number of runs is not whole, an arm has no mean, or there are means of
            several metrics and `metric` names none of them.

    Example:
        >>> cells = {"activation": ["relu", "prelu"], "mean": [90.6, 91.2], "std": [0.3, 0.4], "n": [3, 3]}
        >>> means_in(Table("paper.csv", tuple(cells), cells.__getitem__, ("line 2", "line 3")))["relu"]
        Published(mean=90.6, sd=0.3, n=3)
    """
    found = _of_metrics([name for name in table.names if name != arm], metric)
    read = {name for columns in found for name in columns}
    others = [name for name in table.names if name not in read]
    texts = [name for name in others if any(map(_is_text, table.column(name)))]
    arm = arm or next(iter(texts if len(others) > 1 else others), None)
    if not found or arm is None:
        return None
    names = to_names(table.column(arm), arm, table.places)
    if len(set(names)) < len(names):
        return None
    if len(found) > 1:
        known = ", ".join(columns[0] for columns in found)
        raise TableError(f"{table.name}: which column of means is the metric (--metric)? There are {known}")
    mean, sd, n = found[0]
    columns = [
        to_numbers(table.column(name), name, table.places) if name else [float("nan")] * len(names)
        for name in (mean, sd, n)
    ]
    means = {}
    for name, place, value, spread, runs in zip(names, table.places, *columns, strict=True):
        if absent(value):
            raise TableError(f"{table.name}: {quoted(name)} has no mean in {place}")
        if not absent(runs) and runs % 1 != 0:  # also true of an infinite number, whose remainder is NaN
            raise TableError(f"{table.name}: {quoted(n)} must be a whole number of runs, but is {runs:g} in {place}")
        bare = absent(spread) or absent(runs)
        means[name] = Published(value) if bare else Published(value, spread, int(runs))
    return means


def _of_metrics(names: Sequence[str], metric: str | None) -> list[tuple[str, str | None, str | None]]:
    """Return the columns of mean, deviation and number of runs, of each metric or of the one that is named.

    A mean that stands beside no metric's name is that of the one that is named.
    """
    means, deviations, numbers = (_columns(names, words) for words in (_MEAN, _SD, _N))
    if metric is not None and metric in names:
        means = _columns([metric], _MEAN)
    elif metric is not None:
        stem = metric.casefold() if metric.casefold() in means else ""
        means = {stem: means[stem]} if stem in means else {}
    return [
        (name, deviations.get(stem, deviations.get("")), numbers.get(stem, numbers.get("")))
        for stem, name in means.items()
    ]


def _columns(names: Sequence[str], words: tuple[str, ...]) -> dict[str, str]:
    """Return by metric the first column that is named by one of the words, beside the metric's name or alone.

    Example:
        >>> _columns(["Acc_mean", "mean", "mean loss", "epoch"], _MEAN)
        {'acc': 'Acc_mean', '': 'mean', 'loss': 'mean loss'}
    """
    either = "|".join(map(re.escape, sorted(words, key=len, reverse=True)))  # "std_dev" before "std"
    named = re.compile(rf"(?:{either})|(?P<before>.+?)[ _](?:{either})|(?:{either})[ _](?P<after>.+)", re.IGNORECASE)
    columns: dict[str, str] = {}
    for name in names:
        if match := named.fullmatch(name.strip()):
            columns.setdefault((match["before"] or match["after"] or "").casefold(), name)
    return columns


def _is_text(cell: object) -> bool:
    try:
        float(str(cell))
    except ValueError:
        return True
    return False
