"""Text to print with rich, in which the user's strings are made printable and never read as rich markup."""

from __future__ import annotations

import textwrap

from rich.console import Console
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


def print_line(line: str, console: Console) -> None:
    """Print a sentence: wrapped between words on a terminal, whole where something else reads it.

    A word that is longer than a line, such as a path, stays whole on a terminal, too, so that it can be copied.

    Args:
        line: Text, which may hold any character.
        console: Console to print on.
    """
    text = words(line).plain
    if console.is_terminal:  # rich would cut or fold long words
        text = textwrap.fill(text, console.width, break_long_words=False, break_on_hyphens=False)
    console.print(Text(text), highlight=False, soft_wrap=True)
