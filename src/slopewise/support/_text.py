r"""Display of the user's text: names of studies, arms, classes, layers and files may hold any character.

Stored and exported text stays unchanged. Terminal output, pages and error messages pass it through `printable`,
because a terminal would execute control sequences, and other characters would display the text in a different order.
"""

from __future__ import annotations

import reprlib
import unicodedata
from collections.abc import Callable, Iterable

# Format characters (category Cf of Unicode) that words need: joiners, and signs drawn under the digits after them.
_JOINERS = frozenset("\u200c\u200d")
_DRAWN = frozenset("\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd")
_JOINED = frozenset("LMS")  # categories of the characters around a joiner: letters, their marks, emoji
_VIRAMA = 9  # combining class of the marks of Indian scripts after which a joiner may also end a word
_HIDDEN = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))  # control, format, half of a surrogate pair, line and paragraph end


def printable(text: str, *, keep: str = "", escape: Callable[[str], str] | None = None) -> str:
    r"""Return the text with escapes for invisible control characters.

    Escaped are control characters (C0, DEL, C1), line ends, format characters such as those that change the direction
    of text, and lone surrogates, which represent bytes of file names that are not UTF-8. Visible characters stay:
    accents, any script, emoji with their joiners. A backslash stays unchanged, so that paths are readable; the result
    is for reading, not for parsing.

    Args:
        text: Any text.
        keep: Characters that stay although they would be escaped, such as line ends of text with several lines.
        escape: Function from a character to its escape; by default that of Python's literals.

    Example:
        >>> printable("\x1b[31mred\x07, caf\u00e9 \u6f22\u5b57"), printable("a\u202eb\n"), printable("a\nb", keep="\n")
        ('\\x1b[31mred\\x07, café 漢字', 'a\\u202eb\\n', 'a\nb')
    """
    if text.isprintable():
        return text
    escape = escape or _literal
    return "".join(
        char if char.isprintable() or char in keep or not _hidden(text, place) else escape(char)
        for place, char in enumerate(text)
    )


def printed(lines: Iterable[str]) -> str:
    r"""Return lines as one text, in which a line ends only where one of them does.

    Example:
        >>> printed(["first", "sec\nond"])
        'first\nsec\\nond'
    """
    return "\n".join(map(printable, lines))


def shortened(text: str, longest: int, *, keep: str = "") -> str:
    """Return printable text, which keeps its beginning and its end where it is too long.

    Example:
        >>> shortened("abcdefghijklmnop", 11), shortened("abc", 11)
        ('abcd...mnop', 'abc')
    """
    if len(text) > longest:
        end = (longest - 3) // 2
        text = f"{text[: longest - 3 - end]}...{text[-end:]}"
    return printable(text, keep=keep)


def quoted(value: object, longest: int = 60) -> str:
    """Return a value as an error quotes it: its repr, printable and of bounded length.

    Example:
        >>> quoted("a" * 100, 20), quoted(10**5000), quoted([[[[[[[1]]]]]]])
        ("'aaaaaaa...aaaaaaaa'", 'a number of about 5,000 digits', '[[[[[[...]]]]]]')
    """
    return shortened(_Brief(longest).repr(value), longest)


class _Brief(reprlib.Repr):
    """`repr` that reads no further into a value than it shows."""

    def __init__(self, longest: int) -> None:
        super().__init__()
        self.maxstring = self.maxother = self.maxlong = longest

    def repr_int(self, x: int, level: int) -> str:
        if x.bit_length() > 1000:  # Python refuses to write out very long ones
            return f"a number of about {round(x.bit_length() * 0.30103):,} digits"
        return super().repr_int(x, level)


def _hidden(text: str, place: int) -> bool:
    """Return True if the character at an index is a control rather than a visible one."""
    char = text[place]
    if char in _JOINERS and place > 0:
        before, after = text[place - 1], text[place + 1 : place + 2]
        return not (_joined(before) and (unicodedata.combining(before) == _VIRAMA or _joined(after)))
    return unicodedata.category(char) in _HIDDEN and char not in _DRAWN


def _joined(char: str) -> bool:
    return not char.isascii() and unicodedata.category(char)[0] in _JOINED


def _literal(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")
