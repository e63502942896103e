"""Sentences on a terminal and elsewhere."""

import io

import pytest
from rich.console import Console

from slopewise.support.terminal import print_line

PATH = "/a/folder/" + "long/" * 10 + "report.html"
SENTENCE = "a sentence of the study, [red], " * 5 + PATH


@pytest.mark.parametrize("terminal", [True, False])
def test_a_sentence_is_wrapped_between_words_on_a_terminal_alone(terminal: bool) -> None:
    stream = io.StringIO()
    print_line(SENTENCE, Console(file=stream, width=40, force_terminal=terminal, color_system=None))
    lines = [line.rstrip() for line in stream.getvalue().splitlines()]
    assert " ".join(lines) == SENTENCE
    assert lines[-1] == (PATH if terminal else SENTENCE)
    assert max(map(len, lines[:-1]), default=0) <= 40
