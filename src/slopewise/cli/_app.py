"""What the commands share: the application, options that several take, and how they speak."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from slopewise.errors import SlopewiseError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="What does a learned negative slope (PReLU) do to the training of your CNN, and is it worth it?",
)

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a study.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object to stdout.")]


@contextmanager
def writing(target: Path) -> Iterator[None]:
    """A block that writes a file; what goes wrong there is said in one line."""
    try:
        yield
    except OSError as error:
        raise SlopewiseError(f"cannot write '{error.filename or target}': {error.strerror}") from error


def print_json(value: Any) -> None:
    """Results, to stdout."""
    typer.echo(json.dumps(value, indent=2, allow_nan=False))


def say(line: str) -> None:
    """Everything else, to stderr."""
    Console(stderr=True).print(Text(line), soft_wrap=True, highlight=False)
