"""The rules that judge a run: those that come with slopewise, those that a program registers, those of packages."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import fields
from functools import lru_cache
from typing import Any, TypeVar

from slopewise.recording.alarms._base import KINDS, AlarmRule
from slopewise.recording.alarms.rules import shipped
from slopewise.support import Registry

AlarmId = str
SHIPPED: Mapping[AlarmId, AlarmRule[Any]] = {rule.id: rule for rule in shipped()}  # `shipped` refuses equal ids
ALARM_IDS: tuple[AlarmId, ...] = tuple(SHIPPED)  # the most serious first

_SLUG = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_LONGEST = 60  # characters of an id
_RULES: Registry[AlarmRule[Any]] = Registry("slopewise.alarms", SHIPPED)
_Rule = TypeVar("_Rule", bound=AlarmRule[Any])


def rules() -> tuple[AlarmRule[Any], ...]:
    """Return all rules, the most serious first; those from elsewhere have the thresholds that they were made with.

    Raises:
        ImportError: The rule of an installed package cannot be imported.
        TypeError: An installed package names something else than a rule.
        ValueError: A class attribute of its rule breaks the contract.

    Example:
        >>> [rule.id for rule in rules()][:3]
        ['not-finite', 'slope-uninitialised', 'slope-runaway']
    """
    every = [rule for _, rule in _RULES.items()]
    for rule in every:
        check_declaration(rule)  # those of installed packages have not been yet
    return tuple(sorted(every, key=lambda rule: rule.rank))


@lru_cache(1024)  # a recording has many alarms, and to look for an unknown one in installed packages takes milliseconds
def rule_of(alarm: AlarmId) -> AlarmRule[Any] | None:
    """Return the rule with an id; None if there is none, as for an alarm that another program recorded."""
    return _RULES.find(alarm)


def register(rule: _Rule) -> _Rule:
    """Add a rule to those that every monitor made from now on applies; return it.

    A rule with the same id that was registered before is replaced. An installed package adds a rule by an entry point
    of the group "slopewise.alarms": the rule's id is its name, an instance of the rule its value.

    Args:
        rule: Rule of a class of your own, with the thresholds that it is to have.

    Raises:
        TypeError: `rule` is no rule, or a class instead of an instance.
        ValueError: A class attribute of the rule breaks the contract, or the id is that of a rule of slopewise.

    Example:
        >>> from slopewise.recording.alarms import Finding, SiteRule, threshold, unregister
        >>> class Lopsided(SiteRule):
        ...     id = "lopsided-site"
        ...     raised_when = "more than the fraction `most_positive` of a site's inputs is positive"
        ...     advice = "Centre the inputs of the activation."
        ...     most_positive: float = threshold(0.9, "largest ordinary fraction of positive inputs")
        ...
        ...     def judge(self, site, past, /):
        ...         lopsided = site.positive > self.most_positive
        ...         return Finding(past.step, f"{site.positive:.0%} positive") if lopsided else None
        >>> register(Lopsided(most_positive=0.8)).most_positive
        0.8
        >>> unregister("lopsided-site")
    """
    check_declaration(rule)
    _RULES.register(rule.id, rule)
    rule_of.cache_clear()
    return rule


def unregister(alarm: AlarmId) -> None:
    """Remove a rule that was registered.

    Raises:
        ValueError: No rule was registered under this id.
    """
    _RULES.unregister(alarm)
    rule_of.cache_clear()


def is_id(text: str) -> bool:
    """Return True if a text can be the id of an alarm: it stands in file names, addresses and lists."""
    return len(text) <= _LONGEST and _SLUG.fullmatch(text) is not None


def check_declaration(rule: AlarmRule[Any]) -> None:
    """Check the class of a rule and its attributes.

    Raises:
        TypeError: The rule does not derive from one of the four base classes, or is a class instead of an instance.
        ValueError: An attribute is missing, or is not as `AlarmRule` describes it.
    """
    if not isinstance(rule, KINDS):
        hint = f": pass an instance, {rule.__name__}()" if isinstance(rule, type) else ""
        raise TypeError(f"a rule must derive from {', '.join(kind.__name__ for kind in KINDS)}{hint}; got {rule!r}")
    name = f"alarm rule {type(rule).__name__}"
    for attribute in ("id", "raised_when", "advice"):
        text = getattr(rule, attribute, None)
        if not isinstance(text, str) or not text.strip() or not text.isprintable():
            raise ValueError(f"{name}: {attribute} must be one line of text, got {text!r}")
    if not is_id(rule.id):
        shape = f"lower-case words with hyphens between them, of at most {_LONGEST} characters"
        raise ValueError(f"{name}: id must be {shape}, got '{rule.id}'")
    for field in fields(rule):
        if not field.metadata.get("meaning"):
            raise ValueError(f"{name}: field {field.name} must be made by threshold(default, meaning)")


class _Advice(Mapping[AlarmId, str]):
    """The advice of all rules by id, the most serious first; it follows registrations."""

    def __getitem__(self, alarm: AlarmId) -> str:
        rule = rule_of(alarm)
        if rule is None:
            raise KeyError(alarm)
        return rule.advice

    def __iter__(self) -> Iterator[AlarmId]:
        return (rule.id for rule in rules())

    def __len__(self) -> int:
        return len(rules())


ADVICE: Mapping[AlarmId, str] = _Advice()
