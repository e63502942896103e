"""Check of the arms that start from another arm of their study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from slopewise.errors import nearest
from slopewise.study._spec_tables import ArmSpec
from slopewise.support import quoted


def check_starts(arms: Sequence[ArmSpec], *, function: str | None) -> None:
    """Check that each `start` names another arm, and that no arm starts from itself through others.

    Args:
        arms: Arms of the study, with distinct names.
        function: Training function of the study; None for the study's own loop, which alone can train an arm twice.

    Raises:
        ValueError: A start has a fault; the message names the arm.

    Example:
        >>> start = {"arm": "relu", "take": "weights"}
        >>> check_starts([ArmSpec(name="relu", activation="relu", start=start)], function=None)
        Traceback (most recent call last):
        ...
        ValueError: arms: the start of 'relu' leads back to itself, relu <- relu: name an arm that starts by itself
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
        if round_ := _circle(arm, named):
            raise ValueError(
                f"arms: the start of {quoted(arm.name)} leads back to itself, {' <- '.join(round_)}: name an arm that "
                "starts by itself"
            )


def _circle(arm: ArmSpec, named: Mapping[str, ArmSpec]) -> list[str]:
    """Return the names on the way from an arm through its starts back to it; none if the way ends elsewhere."""
    names = [arm.name]
    while (start := named[names[-1]].start) is not None:
        names.append(start.arm)
        if start.arm == arm.name:
            return names
        if start.arm in names[:-1]:
            return []  # a circle of others, which is found from one of them
    return []
