"""What is printed with rich: text of users in it is printable, and no markup of rich's own."""

from __future__ import annotations

from rich.style import Style
from rich.text import Text

from slopewise.support import shortened

_LONGEST = 10_000  # characters of a text of users, which has no bound of its own


def words(*parts: str | tuple[str, str | Style] | Text, style: str = "") -> Text:
    r"""Return text for rich to print, of one line: rich would read "[red]" in a string, and a terminal "\x1b[31m".

    Args:
        parts: Strings, strings with a style, and what this function returned.
        style: Style of the whole.

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
