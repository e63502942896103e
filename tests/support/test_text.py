"""Text of users as it is shown, and the errors and warnings that quote it."""

import ast
import pickle
import re
import sys
import unicodedata
import warnings
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import slopewise
from slopewise.convert import ConversionWarning, convert
from slopewise.errors import DataError, SlopewiseError, SlopewiseWarning, SpecError, listed, nearest
from slopewise.export import ExportError
from slopewise.init import kaiming
from slopewise.monitor import Alarm, MonitorWarning
from slopewise.optim import param_groups
from slopewise.study.data import DataWarning
from slopewise.support import printable, printed, quoted, shortened

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
def test_ordinary_text_stays(text: str) -> None:
    assert printable(text) == text


@pytest.mark.parametrize(("text", "shown"), OBEYED)
def test_control_characters_are_escaped(text: str, shown: str) -> None:
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
def test_escaped_text_is_not_escaped_again(text: str) -> None:
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
def test_quotations_in_errors_are_short(kind: str) -> None:
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


def test_tables_of_models_are_printable() -> None:
    name = "\x1b[31m\n\u202e"
    model = nn.Sequential(OrderedDict({name: nn.Linear(4, 8), f"{name}act": nn.ReLU(), "last": nn.Linear(8, 2)}))
    conversion = convert(model, torch.randn(3, 4))
    groups = param_groups(conversion.model, lr=0.1)
    with torch.no_grad():
        conversion.model.get_submodule(f"{name}act").weight[0] = float("nan")
    shown = [conversion, kaiming(model, torch.randn(3, 4)), groups, Alarm("dead-units", name, 1, 1, name)]
    for text in map(str, shown):
        assert "\\x1b[31m\\n\\u202e" in text
        assert text.replace("\n", "").isprintable()
    sites = str(conversion).splitlines()[2:5]
    assert sites[2].index("ReLU") == sites[0].index("was")  # what is shown is what is aligned


SOURCE = Path(slopewise.__file__).parent
# Where text of rich's is made, and where it is of our words alone; where lines are written.
PRINTS = {
    "Text": {"_terminal.py", "report/study/_claims.py", "report/study/_text.py"},
    "assemble": set(),
    "from_markup": set(),
    "echo": {"cli/_app.py"},
    "print": set(),
    "secho": set(),
    "write": {"__main__.py", "cli/__init__.py", "cli/_study.py"},  # of `sys.stderr`; of a file
}


def test_few_functions_print() -> None:
    printing: dict[str, set[str]] = {name: set() for name in PRINTS}
    places = ("*.py", "cli/*.py", "drawing/*.py", "report/**/*.py", "bench/_table.py")
    for path in sorted(path for pattern in places for path in SOURCE.glob(pattern)):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            function, place = node.func, path.relative_to(SOURCE).as_posix()
            name = function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")
            of_console = isinstance(function, ast.Attribute) and "console" in ast.unparse(function.value).lower()
            if name in PRINTS and not of_console and not (name == "echo" and isinstance(function, ast.Name)):
                printing[name].add(place)
    assert not {name: places - PRINTS[name] for name, places in printing.items() if places - PRINTS[name]}
