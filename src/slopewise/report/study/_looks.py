"""Looks of an adaptive study in words: the schedule, and the decisions of each look."""

from __future__ import annotations

from collections.abc import Sequence

from slopewise.drawing import count, listing, signed
from slopewise.events import Look
from slopewise.records import amount

_NAMED = 6  # largest number of open arms that are named instead of counted
_PHRASES = {
    "helps": "{arm} helps",
    "hurts": "{arm} hurts",
    "no practical effect": "{arm} has no practical effect",
}


def looks_words(looks: Sequence[int]) -> str:
    """Return the schedule of an adaptive study in a sentence.

    Example:
        >>> looks_words((10, 16, 40))
        'The study looks after 10, 16 and 40 seeds; an arm that a look decides gets no further seeds.'
    """
    return f"The study looks after {listing(looks)} seeds; an arm that a look decides gets no further seeds."


def look_line(look: Look) -> str:
    """Return a line about a look: the arms that it decided, and the arms that stay open.

    Example:
        >>> look_line(Look(16, (("frozen_slope", "hurts"),), ("elu", "prelu_channel"), 24))
        'look after 16 seeds: frozen_slope hurts; 2 arms go on to 24 seeds: elu, prelu_channel'
        >>> look_line(Look(40, (), ("elu",), None, (("elu", 0.254),), "points"))
        'look after 40 seeds: nothing more is decided; 1 arm stays open: elu +0.25 points'
    """
    so_far = {arm: f" {amount(signed(difference, 2), look.unit)}" for arm, difference in look.differences}
    decided = ", ".join(_PHRASES.get(verdict, "{arm}: " + verdict).format(arm=arm) for arm, verdict in look.decided)
    parts = [decided or f"nothing {'' if look.next else 'more '}is decided{' yet' if look.next else ''}"]
    if look.undecided:
        arms = len(look.undecided)
        verb = (
            f"{'goes' if arms == 1 else 'go'} on to {count(look.next, 'seed')}"
            if look.next
            else f"stay{'s' * (arms == 1)} open"
        )
        named = ", ".join(f"{arm}{so_far.get(arm, '')}" for arm in look.undecided)
        named = f": {named}" if arms <= _NAMED else ""
        parts.append(f"{count(arms, 'arm')} {verb}{named}")
    else:
        parts.append("every arm is decided")
    return f"look after {count(look.seeds, 'seed')}: {'; '.join(parts)}"
