"""Text of users as it is shown, and the errors and warnings that quote it."""

import pickle
import re
import sys
import unicodedata
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slopewise._text import printable, printed, quoted, shortened
from slopewise.convert import ConversionWarning
from slopewise.errors import DataError, SlopewiseError, SlopewiseWarning, SpecError, listed, nearest
from slopewise.export import ExportError
from slopewise.monitor import MonitorWarning
from slopewise.study.data import DataWarning

WRITTEN = [  # as people write them, each with characters that a careless rule would take for control characters
    "caf\u00e9 e\u0301",
    "\u6f22\u5b57\u3000\u30c6\u30b9\u30c8",  # an ideographic space
    "\U0001f469\U0001f3fd\u200d\U0001f4bb \u2764\ufe0f\u200d\U0001f525",  # joined emoji
    "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",  # Persian: a non-joiner between letters
    "\u0915\u094d\u200d\u0937",  # Devanagari: a joiner behind a virama
    "\u0d28\u0d4d\u200d",  # Malayalam: behind a virama at the end of a word
    "\u0600\u0661\u0662",  # Arabic: a sign drawn under the digits
    "\u05e9\u05dc\u05d5\u05dd",
    "C:\\new\\x1b",
]
OBEYED = [
    ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
    ("\x1b[2K\r", "\\x1b[2K\\r"),
    ("\x9b31m", "\\x9b31m"),  # the same in one character of C1
    ("a\x7f\x08", "a\\x7f\\x08"),
    ("two\nlines\x85\u2028", "two\\nlines\\x85\\u2028"),
    ("\u202egnp.exe", "\\u202egnp.exe"),
    ("\u2066x\u2069", "\\u2066x\\u2069"),
    ("a\u200bb\u200dc\ufeff", "a\\u200bb\\u200dc\\ufeff"),  # zero-width, between Latin letters
    ("\U000e0041", "\\U000e0041"),  # a tag
    (b"\xff.png".decode("utf-8", "surrogateescape"), "\\udcff.png"),
]


@pytest.mark.parametrize("text", WRITTEN)
def test_what_people_write_stays(text: str) -> None:
    assert printable(text) == text


@pytest.mark.parametrize(("text", "shown"), OBEYED)
def test_what_a_terminal_obeys_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_every_character_of_unicode_alone() -> None:
    for number in range(sys.maxunicode + 1):
        char = chr(number)
        kind = unicodedata.category(char)
        if kind in {"Cc", "Cs", "Zl", "Zp"} or (
            kind == "Cf" and unicodedata.bidirectional(char) not in {"AN", "AL", "L"}
        ):
            assert printable(char) == char.encode("unicode_escape").decode(), hex(number)
        elif kind != "Cf":
            assert printable(char) == char, hex(number)


@given(st.text())
def test_what_is_shown_is_shown_again_as_it_is(text: str) -> None:
    once = printable(text)
    assert printable(once) == once
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]", once)


def test_lines_end_where_ours_do() -> None:
    assert printed(["a\nb", "c"]) == "a\\nb\nc"
    assert printable("a\n\tb\x1b", keep="\n\t") == "a\n\tb\\x1b"


HUGE = {
    "text": "x" * 10**7,
    "bytes": b"x" * 10**6,
    "number": 10**5000,
    "negative": -(10**5000),
    "lists": [[0] * 1000] * 1000,
    "key": {"k" * 10**6: 1},
}


@pytest.mark.parametrize("kind", HUGE)
def test_what_an_error_quotes_is_short(kind: str) -> None:
    assert len(quoted(HUGE[kind])) <= 60
    assert len(shortened("x" * 1000, 11)) == 11


def test_nested_values_are_quoted_without_recursion() -> None:
    nested: list[object] = []
    for _ in range(100_000):
        nested = [nested]
    assert len(quoted(nested)) <= 60
    nested = [[]]
    nested.append(nested)
    assert "..." in quoted(nested)


@pytest.mark.parametrize("kind", [SlopewiseError, SpecError, DataError, ExportError])
def test_errors_are_printable_and_short(kind: type[SlopewiseError]) -> None:
    error = kind("arm '\x1b[31m\u202e\n': do this")
    assert str(error) == "arm '\\x1b[31m\\u202e\\n': do this"
    assert error.args == ("arm '\x1b[31m\u202e\n': do this",)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    long = str(kind(f"where: {'x' * 10**6}: what to do"))
    assert len(long) <= 2000
    assert (long[:7], long[-12:]) == ("where: ", ": what to do")


@pytest.mark.parametrize("kind", [SlopewiseWarning, DataWarning, MonitorWarning, ConversionWarning])
def test_warnings_are_printable(kind: type[Warning]) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.warn("class '\x1b]0;t\x07'", kind, stacklevel=1)
    shown = warnings.formatwarning(caught[0].message, kind, "file.py", 1, "line")
    assert "class '\\x1b]0;t\\x07'" in shown
    assert "\x1b" not in shown


def test_the_nearest_of_very_many_and_of_very_long_names() -> None:
    names = [f"layer{n}" for n in range(1_000_000)]
    words = nearest("layer17", names)
    assert words.startswith("did you mean 'layer17'? (known: layer0, layer1, ")
    assert words.endswith(" more)")
    assert len(words) < 350
    long = nearest("x" * 10**7, ["y" * 10**7, "\x1b[31m"])
    assert len(long) < 350
    assert "\x1b" not in long


def test_a_listing_has_as_many_names_as_fit() -> None:
    assert listed([]) == ""
    assert listed(["a" * 10, "b" * 10], longest=22) == f"{'a' * 10}, {'b' * 10}"
    assert listed(["a" * 10, "b" * 10], longest=21) == f"{'a' * 10} and 1 more"
    assert listed(["a" * 1000], longest=21) == f"{'a' * 29}...{'a' * 28}"
