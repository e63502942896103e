"""Options of engines, which a class declares and which users give as values or as text on the command line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from slopewise.errors import EngineError
from slopewise.support import quoted

_WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


@dataclass(frozen=True)
class Option:
    """One option of an engine.

    Args:
        name: Name, a Python identifier.
        type: Type of a value: str, int, float or bool.
        help: Sentence for the user.
        default: Value if none is given; it is not checked, so that None can mean "decided at run time".
        least: Smallest value, of a number.
        most: Largest value, of a number.

    Example:
        >>> Option("workers", int, "Processes side by side.", least=1).value("3")
        3
        >>> Option("workers", int, "Processes side by side.", least=1).value("0")
        Traceback (most recent call last):
        slopewise.errors.EngineError: workers: at least 1, not 0
    """

    name: str
    type: type[str] | type[int] | type[float] | type[bool]
    help: str
    default: Any = None
    least: float | None = None
    most: float | None = None

    def value(self, given: Any) -> Any:
        """Return a value of the option's type; None stands for the default.

        Raises:
            EngineError: The value has another type, or is out of range.
        """
        if given is None:
            return self.default
        value = self._parsed(given) if isinstance(given, str) and self.type is not str else given
        if type(value) is int and self.type is float:
            value = float(value)
        if type(value) is not self.type:
            raise EngineError(f"{self.name}: a value of type {self.type.__name__}, not {quoted(given)}")
        if not self._within(value):
            bounds = {"at least": self.least, "at most": self.most}
            words = " and ".join(f"{word} {bound:,}" for word, bound in bounds.items() if bound is not None)
            raise EngineError(f"{self.name}: {words}, not {quoted(value)}")
        return value

    def _within(self, value: Any) -> bool:
        return (self.least is None or value >= self.least) and (self.most is None or value <= self.most)

    def _parsed(self, text: str) -> Any:
        if self.type is bool:
            return _WORDS.get(text.strip().lower(), text)
        try:
            return self.type(text)
        except ValueError:
            return text
