"""Text to print with rich, in which the user's strings are made printable and never read as rich markup."""

from __future__ import annotations

from rich.style import Style
from rich.text import Text

from slopewise.support import shortened

_LONGEST = 10_000  # characters of a user's string, which has no limit of its own


def words(*parts: str | tuple[str, str | Style] | Text, style: str = "") -> Text:
    r"""Return one line of text for rich to print, in which neither "[red]" nor "\x1b[31m" sets a colour.

    Args:
        parts: Strings, pairs of a string and its style, and texts returned by this function.
        style: Style of the whole text.

    Example:
        >>> words(("arm\x1b[2K", "bold"), " [red]").plain
        'arm\\x1b[2K [red]'
    """
    whole = Text(style=style)
    for part in parts:
        if isinstance(part, Text):
            whole.append_text(part)
        else:
            text, own = (part, None) if isinstance(part, str) else part
            whole.append(shortened(text, _LONGEST), own)
    return whole
