"""Sentences about trials that were trained twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from slopewise.drawing import count
from slopewise.records import RepeatRecord


def repeat_notes(repeats: Sequence[RepeatRecord]) -> Iterator[str]:
    """Yield what trials that were trained twice show about reproducibility; an alarm of theirs is a caution.

    Example:
        >>> same = RepeatRecord("relu", 0, "", equal=True, same_identity=True)
        >>> list(repeat_notes([same, same]))
        ['2 trials were trained twice and agree bit by bit.']
    """
    equal = sum(repeat.equal for repeat in repeats)
    if equal:
        yield f"{count(equal, 'trial')} {'was' if equal == 1 else 'were'} trained twice and {_agree(equal)} bit by bit."
    apart = sum(not repeat.equal and not repeat.same_identity for repeat in repeats)
    if apart:
        yield (
            f"{count(apart, 'trial')} {'was' if apart == 1 else 'were'} trained twice in different environments, and "
            f"{'differs' if apart == 1 else 'differ'}, as rounding does there."
        )


def _agree(number: int) -> str:
    return "agrees" if number == 1 else "agree"
