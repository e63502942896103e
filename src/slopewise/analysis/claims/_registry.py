"""The claims that a study is held against: those that come with slopewise, those registered, those of packages."""

from __future__ import annotations

import re
from typing import Any, TypeVar

from slopewise.analysis.claims._base import Claim
from slopewise.analysis.claims.textbook import shipped
from slopewise.errors import ArgumentError, look_up
from slopewise.support import Registry

_TEXTS = ("statement", "source", "prediction", "design", "statistic", "rule")
_SLUG = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_LONGEST = 60  # characters of an id
_CLAIMS: Registry[Claim] = Registry("slopewise.claims", {claim.id: claim for claim in shipped()})
_Claim = TypeVar("_Claim", bound=Claim)


def claims() -> tuple[Claim, ...]:
    """Return all claims in the order of the ledger.

    Raises:
        ImportError: The claim of an installed package cannot be imported.
        TypeError: An installed package names something else than a claim.
        ValueError: A class attribute of its claim breaks the contract.

    Example:
        >>> [claim.id for claim in claims()][:1]
        ['tuned-score']
    """
    every = [claim for _, claim in _CLAIMS.items()]
    for claim in every:
        check_declaration(claim)  # those of installed packages have not been yet
    return tuple(sorted(every, key=lambda claim: (claim.number, claim.id)))


def claim_of(name: str) -> Claim:
    """Return the claim with an id.

    Raises:
        ArgumentError: There is none.

    Example:
        >>> claim_of("tuned-score").number
        1
    """
    return look_up(_CLAIMS, name, ArgumentError, place=f"claim '{name}'")


def register_claim(claim: _Claim) -> _Claim:
    """Add a claim to the ledger; return it.

    A claim with the same id that was registered before is replaced. An installed package adds a claim by an entry point
    of the group "slopewise.claims": the claim's id is its name, an instance of the claim its value.

    Raises:
        TypeError: `claim` is no claim, or a class instead of an instance.
        ValueError: A class attribute breaks the contract, or the id is that of a claim of slopewise.
    """
    check_declaration(claim)
    _CLAIMS.register(claim.id, claim)
    return claim


def unregister_claim(name: str) -> None:
    """Remove a claim that was registered.

    Raises:
        ValueError: No claim was registered under this id.
    """
    _CLAIMS.unregister(name)


def check_declaration(claim: Any) -> None:
    """Check the class of a claim and its attributes.

    Raises:
        TypeError: The claim does not derive from `Claim`, or is a class instead of an instance.
        ValueError: An attribute is missing, or is not as `Claim` describes it.
    """
    if not isinstance(claim, Claim):
        hint = f": pass an instance, {claim.__name__}()" if isinstance(claim, type) else ""
        raise TypeError(f"a claim must derive from Claim{hint}; got {claim!r}")
    name = f"claim {type(claim).__name__}"
    for attribute in ("id", *_TEXTS):
        text = getattr(claim, attribute, None)
        if not isinstance(text, str) or not text.strip() or not text.isprintable():
            raise ValueError(f"{name}: {attribute} must be one line of text, got {text!r}")
    if not isinstance(getattr(claim, "toml", None), str):
        raise ValueError(f"{name}: toml must be lines of a spec, or empty text")
    if len(claim.id) > _LONGEST or not _SLUG.fullmatch(claim.id):
        shape = f"lower-case words with hyphens between them, of at most {_LONGEST} characters"
        raise ValueError(f"{name}: id must be {shape}, got '{claim.id}'")
