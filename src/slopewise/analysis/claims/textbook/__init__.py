"""The claims of textbooks and papers about PReLU, one file each. A new file in this folder is a new claim.

Their decision rules share words: a figure is *shown* to lie above (below) a value if its 95 % interval does and its
exact p value, after Holm's correction over the comparisons of the claim, is at most 0.05.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil

from slopewise.analysis.claims._base import Claim


def shipped() -> tuple[Claim, ...]:
    """Return the claims of this folder, in the order of their numbers."""
    modules = [importlib.import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__)]
    classes = [
        value
        for module in modules
        for value in vars(module).values()
        if inspect.isclass(value)
        and issubclass(value, Claim)
        and value.__module__ == module.__name__
        and not inspect.isabstract(value)
    ]
    for key in ("id", "number"):
        first: dict[object, type[Claim]] = {}
        for claim in classes:
            if (other := first.setdefault(getattr(claim, key), claim)) is not claim:
                raise ValueError(
                    f"two claims have the {key} {getattr(claim, key)!r}: {other.__name__}, {claim.__name__}"
                )
    return tuple(sorted((claim() for claim in classes), key=lambda claim: claim.number))
