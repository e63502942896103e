"""Formats of numbers and lists, on pages and on the terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import takewhile

NOTHING = "–"
_LONGEST = 40  # items of a list in a sentence


def number(value: float | None, digits: int | None = None) -> str:
    """Return a value with a true minus sign, to three significant digits by default; `NOTHING` for None.

    Example:
        >>> number(-0.125, 2), number(0.00213), number(-0.001, 2), number(None)
        ('−0.12', '0.00213', '0.00', '–')
    """
    if value is None:
        return NOTHING
    if digits is None:
        digits = min(max(2 - math.floor(math.log10(abs(value))), 0), 6) if value else 0
    text = f"{value:.{digits}f}"
    return text.replace("-", "−") if float(text) else text.lstrip("-")


def compact(value: float | None) -> str:
    """Return a number of any size in few characters; `NOTHING` for None.

    Example:
        >>> compact(0.0123), compact(3.21e-7), compact(math.nan), compact(None)
        ('0.0123', '3.2e-07', 'nan', '–')
    """
    if value is None or value == 0 or 1e-3 <= abs(value) < 1e4:
        return number(value)
    return f"{value:.1e}"


def signed(value: float | None, digits: int) -> str:
    """Return the same as `number`, with a plus sign before positive values.

    Example:
        >>> signed(0.125, 1), signed(0.01, 1)
        ('+0.1', '0.0')
    """
    text = number(value, digits)
    return f"+{text}" if value is not None and not text.startswith("−") and float(text) else text


def interval(ends: tuple[float, float] | None, digits: int) -> str:
    """Return both ends of an interval, as in [−0.31, 0.55]."""
    return NOTHING if ends is None else f"[{number(ends[0], digits)}, {number(ends[1], digits)}]"


def spread(mean: float | None, sd: float | None, digits: int) -> str:
    """Return a mean and a standard deviation, as in 97.12 ± 0.31."""
    return number(mean, digits) if sd is None else f"{number(mean, digits)} ± {number(sd, digits)}"


def p_value(p: float | None) -> str:
    """Return a p value to three decimals, a smaller one as a bound."""
    return NOTHING if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


def count(n: int, noun: str) -> str:
    """Return a number with its noun, in the plural if needed.

    Example:
        >>> count(1, "seed"), count(3, "seed")
        ('1 seed', '3 seeds')
    """
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def listing(words: Sequence[object]) -> str:
    """Return items joined as in a sentence; of more than 40, successive numbers become ranges, and the rest is counted.

    Example:
        >>> listing(["a", "b", "c"]), listing([*range(9), *range(20, 2000)])
        ('a, b and c', '0 to 8 and 20 to 1999')
    """
    items = [*map(str, words)]
    if len(items) > _LONGEST:
        items = _ranges(items)
    if len(items) > _LONGEST:
        items = [*items[: _LONGEST - 1], f"{len(items) - _LONGEST + 1} more"]
    *most, last = items
    return f"{', '.join(most)} and {last}" if most else last


def _ranges(words: Sequence[str]) -> list[str]:
    """Return the words with successive whole numbers, three or more of them, as ranges."""
    runs: list[list[str]] = []
    for word in words:
        if runs and word.isdecimal() and word == str(int(runs[-1][-1]) + 1 if runs[-1][-1].isdecimal() else ""):
            runs[-1].append(word)
        else:
            runs.append([word])
    return [word for run in runs for word in ([f"{run[0]} to {run[-1]}"] if len(run) > 2 else run)]


def shared_module(names: Sequence[str], longest: int = 20) -> str:
    """Return the module that all names share, to be printed once; empty if no name is longer than `longest`.

    Example:
        >>> shared_module(["encoder.blocks.1.act", "encoder.blocks.10.act"]), shared_module(["act1", "act2"])
        ('encoder.blocks', '')
    """
    if len(names) < 2 or max(map(len, names)) <= longest:
        return ""
    levels = zip(*(name.split(".")[:-1] for name in names), strict=False)
    return ".".join(level[0] for level in takewhile(lambda level: len(set(level)) == 1, levels))


def plain(text: str) -> str:
    """Return the text with ASCII hyphens for the minus signs and dashes, which narrow encodings and parsers lack.

    Example:
        >>> plain("−0.19 – 0.56")
        '-0.19 - 0.56'
    """
    return text.replace("−", "-").replace("–", "-")
