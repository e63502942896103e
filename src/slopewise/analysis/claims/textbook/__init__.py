"""Claims of textbooks and papers about PReLU, one file each. Every file in this folder is a claim.

In their decision rules, a figure is *shown* to lie above (below) a value if its 95 % interval does and its exact p
value, after Holm's correction over the comparisons of the claim, is at most 0.05.
"""

from __future__ import annotations

from slopewise.analysis.claims._base import Claim
from slopewise.support import distinct, shipped_classes


def shipped() -> tuple[Claim, ...]:
    """Return the claims of this folder, in the order of their numbers."""
    classes: list[type[Claim]] = shipped_classes(__name__, __path__, Claim)
    for key in ("id", "number"):
        distinct(classes, key)
    return tuple(sorted((claim() for claim in classes), key=lambda claim: claim.number))
