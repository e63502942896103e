"""Typography of pages: true minus signs, and numbers that stay on one line with the word or unit that follows."""

from __future__ import annotations

import re

_KEPT = re.compile(r"<(script|style|pre|code|td|th)\b.*?</\1>|<[^>]*>|[^<]+", re.DOTALL)
_HYPHEN = re.compile(r"(?<![^\s(\[“])-(?=\.?\d)")  # one before a number that begins a word
_NUMBER = re.compile(r"(?<![\w.&#])(\d(?:[\d,.]*\d)?) (?=[%×µ°\w])(?!(?:to|and|or)\b)")
_SIGN = re.compile(r"(?<=[\d%]) (±) (?=[\d.])|(?<=\bp) (=|&lt;) (?=\d)")


def typeset(html: str) -> str:
    r"""Return a page with the text between its tags typeset; scripts, code and cells of tables stay as they are.

    A number and the word that follows it are joined by a no-break space, as are mean and deviation, and p and its
    value; a hyphen before a number becomes a minus sign.

    Example:
        >>> typeset('<p title="-1 x">a 95 % interval, -0.31 to 3 <code>-1 a</code></p>').replace("\xa0", "_")
        '<p title="-1 x">a 95_% interval, −0.31 to 3 <code>-1 a</code></p>'
    """
    return _KEPT.sub(_piece, html)


def _piece(match: re.Match[str]) -> str:
    text = match.group()
    if text.startswith("<"):
        return text
    text = _NUMBER.sub("\\1\u00a0", _HYPHEN.sub("−", text))
    return _SIGN.sub(lambda sign: f"\u00a0{sign.group().strip()}\u00a0", text)
