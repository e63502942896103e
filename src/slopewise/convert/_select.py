"""Which activations to convert: patterns on their names, kinds and classes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from torch import nn

from slopewise.errors import ConversionError, nearest

Pattern = str | type[nn.Module]
Patterns = Pattern | Iterable[Pattern] | None


class Selection:
    """`only` and `skip` of `convert`, and which of their patterns have matched anything yet."""

    def __init__(self, only: Patterns, skip: Patterns) -> None:
        self.only, self.skip = _listed("only", only), _listed("skip", skip)
        self.met: dict[str, None] = {}
        self.used: set[Pattern] = set()

    def takes(self, name: str, kind: str, modules: Sequence[nn.Module]) -> bool:
        """Whether to convert the activation of that name.

        Args:
            name: of the call site, as the report has it.
            kind: of the activation, such as "relu".
            modules: the activation's own and those around it.
        """
        self.met[name] = None
        wanted = [pattern for pattern in self.only or () if _matches(pattern, name, kind, modules)]
        unwanted = [pattern for pattern in self.skip or () if _matches(pattern, name, kind, modules)]
        self.used.update(wanted, unwanted)
        return (self.only is None or bool(wanted)) and not unwanted

    def names(self, name: str, kind: str = "") -> bool:
        """Return whether `only` names this very activation, and not merely some that it is among.

        Args:
            name: Name of the call site.
            kind: Kind of the activation, if nobody who asks for that kind can mean any but such ones.
        """
        return any(pattern in (name, kind or name) for pattern in self.only or ())

    def check(self) -> None:
        """Refuse a pattern that has matched nothing: it is misspelt, or the model is another one than thought."""
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
