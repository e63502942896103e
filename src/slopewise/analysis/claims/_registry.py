"""Registry of claims: those of slopewise, those registered at run time, and those of installed packages."""

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
        TypeError: The entry point of an installed package is not a claim.
        ValueError: A class attribute of an installed package's claim breaks the contract.

    Example:
        >>> [claim.id for claim in claims()][:1]
        ['tuned-score']
    """
    registered = [claim for _, claim in _CLAIMS.items()]
    for claim in registered:
        check_declaration(claim)  # claims of installed packages have not passed `register_claim`
    return tuple(sorted(registered, key=lambda claim: (claim.number, claim.id)))


def claim_of(name: str) -> Claim:
    """Return the claim with this id, or with this number of the ledger.

    Raises:
        ArgumentError: No claim has this id.

    Example:
        >>> claim_of("tuned-score").number
        1
    """
    if name.isdecimal() and (numbered := [claim for claim in claims() if claim.number == int(name)]):
        return numbered[0]
    return look_up(_CLAIMS, name, ArgumentError, place=f"claim '{name}'")


def register_claim(claim: _Claim) -> _Claim:
    """Add a claim to the ledger, and return it.

    Replaces a claim that was registered earlier under the same id. An installed package adds a claim through an entry
    point of the group "slopewise.claims", whose name is the claim's id and whose value is an instance of the claim.

    Raises:
        TypeError: `claim` is not a `Claim`, or is a class instead of an instance.
        ValueError: A class attribute breaks the contract, or slopewise's own claims use the id.
    """
    check_declaration(claim)
    _CLAIMS.register(claim.id, claim)
    return claim


def unregister_claim(name: str) -> None:
    """Remove a registered claim from the ledger.

    Raises:
        ValueError: No claim was registered under this id.
    """
    _CLAIMS.unregister(name)


def check_declaration(claim: Any) -> None:
    """Check the class of a claim and its attributes.

    Raises:
        TypeError: The claim does not derive from `Claim`, or is a class instead of an instance.
        ValueError: An attribute is missing, or does not have the form that `Claim` describes.
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
        raise ValueError(f"{name}: toml must be lines of a spec or an empty string")
    if len(claim.id) > _LONGEST or not _SLUG.fullmatch(claim.id):
        shape = f"lower-case words with hyphens between them, of at most {_LONGEST} characters"
        raise ValueError(f"{name}: id must be {shape}, got '{claim.id}'")
