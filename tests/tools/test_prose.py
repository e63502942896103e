"""Docstrings start with a verb or a noun, and argument entries have a subject; a planted one that does not is found."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def check(*paths: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "tools" / "prose.py"), *map(str, paths)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_sources_keep_the_rule() -> None:
    ended = check()
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize("first", ["What", "Whether", "How", "Where", "Which"])
def test_a_docstring_that_starts_with_a_question_word_is_found(first: str, tmp_path: Path) -> None:
    (tmp_path / "planted.py").write_text(f'def f():\n    """{first} it does."""\n')
    ended = check(tmp_path)
    assert ended.returncode == 1
    assert f"planted.py:2: {first} it does." in ended.stderr


@pytest.mark.parametrize("entry", ["of the run", "likewise", "which one", "what to do"])
@pytest.mark.parametrize("section", ["Args", "Attributes"])
def test_an_entry_without_a_subject_is_found(section: str, entry: str, tmp_path: Path) -> None:
    lines = ["    name: " + entry + ".", "    other: Name of it,", "        of two lines."]
    body = "\n".join(f"    {line}" for line in lines)
    text = f'class C:\n    """Thing.\n\n    {section}:\n{body}\n    """\n'
    (tmp_path / "planted.py").write_text(text)
    ended = check(tmp_path)
    assert ended.returncode == 1
    assert ended.stderr.splitlines() == [
        f"{tmp_path / 'planted.py'}:5: name: {entry}.",
        "1 docstrings or entries start with no verb or noun",
    ]
