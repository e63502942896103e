"""Check of arms that start from another arm of their study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from slopewise.errors import nearest
from slopewise.study._spec_tables import ArmSpec
from slopewise.support import quoted


def check_starts(arms: Sequence[ArmSpec], *, function: str | None) -> None:
    """Check that each `start` names another arm, and that no arm starts from itself through others.

    Args:
        arms: Arms of the study, with distinct names.
        function: Training function of the study; None for the study's own loop. Only the study's own loop can train the
            other arm first.

    Raises:
        ValueError: A start is not valid; the message names the arm.

    Example:
        >>> start = {"arm": "relu", "take": "weights"}
        >>> check_starts([ArmSpec(name="relu", activation="relu", start=start)], function=None)
        Traceback (most recent call last):
        ...
        ValueError: arms: the start of 'relu' leads back to itself, relu <- relu: start from another arm
    """
    named = {arm.name: arm for arm in arms}
    for arm in arms:
        for key in ("start", "epochs"):
            if function is not None and getattr(arm, key) is not None:
                raise ValueError(
                    f"arms: {key} of {quoted(arm.name)} has no effect with a train.function, which trains by itself"
                )
        if arm.start is not None and arm.start.arm not in named:
            others = [name for name in named if name != arm.name]
            hint = nearest(arm.start.arm, others) if others else "there is no other"
            raise ValueError(f"arms: {quoted(arm.name)} starts from {quoted(arm.start.arm)}, which is no arm; {hint}")
    for arm in arms:
        if cycle := _cycle(arm, named):
            raise ValueError(
                f"arms: the start of {quoted(arm.name)} leads back to itself, {' <- '.join(cycle)}: start from "
                "another arm"
            )


def _cycle(arm: ArmSpec, named: Mapping[str, ArmSpec]) -> list[str]:
    """Return the names along the starts from an arm back to itself; empty if they do not lead back to it."""
    names = [arm.name]
    while (start := named[names[-1]].start) is not None:
        names.append(start.arm)
        if start.arm == arm.name:
            return names
        if start.arm in names[:-1]:
            return []  # a cycle without this arm, reported for the arms in it
    return []
