"""Sentence about stored trials that were damaged."""

from __future__ import annotations

from collections.abc import Sequence

from slopewise.drawing import listing


def damage_note(damaged: Sequence[str]) -> str:
    """Return the sentence that names the damaged trials and what to do.

    Example:
        >>> damage_note(["relu seed 3"])
        'Damaged in the file, and left out: relu seed 3. The same `slopewise run` keeps the damaged file under another \
name and trains anew what is missing.'
    """
    return (
        f"Damaged in the file, and left out: {listing(damaged)}. The same `slopewise run` keeps the damaged file under "
        "another name and trains anew what is missing."
    )
