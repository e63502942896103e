"""Numbers of seeds in words, rounded as far as they are known."""

from __future__ import annotations

import math

from slopewise.analysis._power import MOST_PAIRS

_FEW = 10  # values; of fewer, the spread is known within a factor of two or worse


def about(seeds: int | None, unit: str, *, known: int) -> str:
    """Describe a number of seeds that follows from an estimated spread.

    Args:
        seeds: Number, as of `seeds_needed`; None above `MOST_PAIRS`.
        unit: Words to follow the number, with the space before them; or "".
        known: Number of values that the spread was estimated from.

    Example:
        >>> about(1254, " seeds", known=20)
        'about 1,300 seeds'
        >>> about(1254, " seeds", known=5), about(None, "", known=20)
        ('about 1,300 seeds, very uncertain,', 'more than 1,000,000')
    """
    number = f"more than {MOST_PAIRS:,}" if seeds is None else f"about {rounded_up(seeds):,}"
    return f"{number}{unit}{', very uncertain,' * (known < _FEW)}"


def rounded_up(seeds: float) -> int:
    """Return a number rounded up to a whole one, and to two significant digits: the spread is an estimate.

    Example:
        >>> [rounded_up(seeds) for seeds in (6.2, 99, 101, 1254)]
        [7, 99, 110, 1300]
    """
    unit: int = 10 ** max(0, math.floor(math.log10(seeds)) - 1)
    return unit * math.ceil(seeds / unit)
