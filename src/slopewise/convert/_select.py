"""Selection of the activations to convert, by patterns on their names, kinds and classes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from torch import nn

from slopewise.errors import ConversionError, nearest

Pattern = str | type[nn.Module]
Patterns = Pattern | Iterable[Pattern] | None


class Selection:
    """The arguments `only` and `skip` of `convert`, with a record of the patterns that matched.

    Attributes:
        met: Names of all activations that were asked for, in order.
        used: Patterns that matched an activation.
    """

    def __init__(self, only: Patterns, skip: Patterns) -> None:
        self.only, self.skip = _listed("only", only), _listed("skip", skip)
        self.met: dict[str, None] = {}
        self.used: set[Pattern] = set()

    def takes(self, name: str, kind: str, modules: Sequence[nn.Module]) -> bool:
        """Return True if an activation is selected.

        Args:
            name: Name of the call site, as in the conversion's table.
            kind: Kind of the activation, such as "relu".
            modules: Module of the activation, and the modules around it.
        """
        self.met[name] = None
        taking = [pattern for pattern in self.only or () if _matches(pattern, name, kind, modules)]
        skipping = [pattern for pattern in self.skip or () if _matches(pattern, name, kind, modules)]
        self.used.update(taking, skipping)
        return (self.only is None or bool(taking)) and not skipping

    def names(self, name: str, kind: str = "") -> bool:
        """Return True if `only` contains the exact name of an activation, and not just a pattern that matches it.

        Args:
            name: Name of the call site.
            kind: Kind of the activation, if its name counts as well: a kind such as tanh, which stays by default.
        """
        return any(pattern in (name, kind or name) for pattern in self.only or ())

    def check(self) -> None:
        """Check that every pattern has matched an activation.

        Raises:
            ConversionError: A pattern has matched nothing; it may be misspelt, or meant for another model.
        """
        for argument, patterns in (("only", self.only), ("skip", self.skip)):
            for pattern in patterns or ():
                if pattern not in self.used and self.met:
                    text = pattern if isinstance(pattern, str) else pattern.__name__
                    raise ConversionError(f"{argument}={text!r} matches no activation; {nearest(text, self.met)}")


def _listed(argument: str, patterns: Patterns) -> tuple[Pattern, ...] | None:
    if patterns is None:
        return None
    listed = tuple(patterns) if isinstance(patterns, Iterable) and not isinstance(patterns, str) else (patterns,)
    for pattern in listed:
        if not isinstance(pattern, str) and not (isinstance(pattern, type) and issubclass(pattern, nn.Module)):
            raise TypeError(
                f"{argument} takes names such as 'layer1.*', kinds such as 'relu' and classes, got {pattern!r}"
            )
    return listed


def _matches(pattern: Pattern, name: str, kind: str, modules: Sequence[nn.Module]) -> bool:
    if isinstance(pattern, str):
        return pattern == kind or fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}.*")
    return any(isinstance(module, pattern) for module in modules)
