"""Numbers and words as the page and the terminal print them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import takewhile

VERDICT_SYMBOLS = {"helps": "▲", "hurts": "▼", "no practical effect": "=", "inconclusive": "?"}
NOTHING = "–"


def number(value: float | None, digits: int | None = None) -> str:
    """A value with a true minus sign, to three significant figures by default; `NOTHING` for None.

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


def signed(value: float | None, digits: int) -> str:
    """The same with a plus sign before what is above zero.

    Example:
        >>> signed(0.125, 1), signed(0.01, 1)
        ('+0.1', '0.0')
    """
    text = number(value, digits)
    return f"+{text}" if value is not None and not text.startswith("−") and float(text) else text


def interval(ends: tuple[float, float] | None, digits: int) -> str:
    """Both ends of an interval, as in [−0.31, 0.55]."""
    return NOTHING if ends is None else f"[{number(ends[0], digits)}, {number(ends[1], digits)}]"


def spread(mean: float | None, sd: float | None, digits: int) -> str:
    """Return a mean and a standard deviation, as in 97.12 ± 0.31."""
    return number(mean, digits) if sd is None else f"{number(mean, digits)} ± {number(sd, digits)}"


def p_value(p: float | None) -> str:
    """A p value to three places; a very small one as a bound."""
    return NOTHING if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


def count(n: int, noun: str) -> str:
    """A number and its noun, in the plural where it belongs.

    Example:
        >>> count(1, "seed"), count(3, "seed")
        ('1 seed', '3 seeds')
    """
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def listing(words: Sequence[object]) -> str:
    """Words joined as in a sentence.

    Example:
        >>> listing(["a", "b", "c"])
        'a, b and c'
    """
    *most, last = map(str, words)
    return f"{', '.join(most)} and {last}" if most else last


def shared_module(names: Sequence[str], longest: int = 20) -> str:
    """The module that holds everything named, for saying it once; empty where no name is longer than `longest`.

    Example:
        >>> shared_module(["encoder.blocks.1.act", "encoder.blocks.10.act"]), shared_module(["act1", "act2"])
        ('encoder.blocks', '')
    """
    if len(names) < 2 or max(map(len, names)) <= longest:
        return ""
    levels = zip(*(name.split(".")[:-1] for name in names), strict=False)
    return ".".join(level[0] for level in takewhile(lambda level: len(set(level)) == 1, levels))


def plain(text: str) -> str:
    """The text with the hyphens that other programs and narrow encodings read.

    Example:
        >>> plain("−0.19 – 0.56")
        '-0.19 - 0.56'
    """
    return text.replace("−", "-").replace("–", "-")
