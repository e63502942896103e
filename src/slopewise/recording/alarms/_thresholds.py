"""Thresholds of the rules that come with slopewise, gathered from them."""

from __future__ import annotations

from dataclasses import Field, dataclass, field, fields, make_dataclass, replace
from typing import TYPE_CHECKING, Any

from slopewise.errors import nearest
from slopewise.recording.alarms._base import AlarmRule
from slopewise.recording.alarms._registry import SHIPPED, AlarmId, rules


@dataclass(frozen=True, kw_only=True)
class _Thresholds:
    ignore: tuple[AlarmId, ...] = ()

    if TYPE_CHECKING:  # what the class below has, as far as a type checker can know it

        def __init__(self, *, ignore: tuple[AlarmId, ...] = (), **thresholds: float) -> None: ...

        def __getattr__(self, name: str) -> float: ...

    def __post_init__(self) -> None:
        known = [rule.id for rule in self.rules()]  # each of which checks its thresholds
        for name in (self.ignore,) if isinstance(self.ignore, str) else self.ignore:
            if name not in known:
                raise ValueError(f"threshold ignore: no alarm is called '{name}'; {nearest(name, known)}")

    def rules(self) -> tuple[AlarmRule[Any], ...]:
        """Return all rules, those of slopewise with these thresholds, the most serious first."""
        return tuple(
            replace(rule, **{each.name: getattr(self, each.name) for each in fields(rule)})
            if rule.id in SHIPPED
            else rule
            for rule in rules()
        )


def threshold_fields() -> dict[str, tuple[Field[Any], tuple[AlarmId, ...]]]:
    """Return the thresholds of slopewise's rules by name: each field, and the ids of the rules that have it.

    Raises:
        TypeError: Two rules give one name different defaults or meanings.
    """
    owners: dict[str, list[tuple[Field[Any], AlarmId]]] = {}
    for rule in SHIPPED.values():
        for each in fields(rule):
            owners.setdefault(each.name, []).append((each, rule.id))
    for name, pairs in owners.items():
        if len({(each.default, each.metadata["meaning"]) for each, _ in pairs}) > 1:
            places = ", ".join(rule for _, rule in pairs)
            raise TypeError(f"threshold {name} must have one default and one meaning in {places}")
    return {name: (pairs[0][0], tuple(rule for _, rule in pairs)) for name, pairs in owners.items()}


def _described() -> str:
    lines = [
        f"    {name}: {each.metadata['meaning'][0].upper()}{each.metadata['meaning'][1:]} ({', '.join(owners)}). "
        f"Default {each.default:g}."
        for name, (each, owners) in threshold_fields().items()
    ]
    return "\n".join(lines)


if TYPE_CHECKING:
    Thresholds = _Thresholds
else:
    Thresholds = make_dataclass(
        "Thresholds",
        [
            (name, each.type, field(default=each.default, metadata=each.metadata))
            for name, (each, _) in threshold_fields().items()
        ],
        bases=(_Thresholds,),
        frozen=True,
        kw_only=True,
        namespace={
            "__module__": __name__,
            "__doc__": f"""Thresholds of slopewise's alarm rules, for `Monitor(thresholds=...)`.

Rules that a program registers have their own: they are given when the rule is made.

Attributes:
{_described()}
    ignore: Ids of alarms that are not raised at all, of any rule.

Raises:
    ValueError: A number is not above 0, or `ignore` names no alarm.

Example:
    >>> from slopewise.monitor import Thresholds
    >>> Thresholds(dead=0.25, ignore=("slope-tied",)).dead
    0.25
""",
        },
    )
