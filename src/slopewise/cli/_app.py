"""Parts that the commands share: the application, options of several commands, and output."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from slopewise.errors import SlopewiseError
from slopewise.support import printable
from slopewise.support.citation import version
from slopewise.support.terminal import print_line

if TYPE_CHECKING:
    from slopewise.results import Results

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="What does a learned negative slope (PReLU) do to the training of your CNN, and is it worth it?",
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"slopewise {version()}")
        raise typer.Exit


@app.callback()
def _options(
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


Folder = Annotated[
    str, typer.Argument(metavar="DIR", help="Folder of a study, or URL of its database.", show_default=False)
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object to stdout.")]


@contextmanager
def writing(target: Path) -> Iterator[None]:
    """Turn an OSError in a block that writes a file into an error of one line."""
    try:
        yield
    except OSError as error:
        raise SlopewiseError(f"cannot write '{error.filename or target}': {error.strerror}") from error


def print_json(value: Any) -> None:
    """Print results to stdout as JSON, with everything escaped that is not printable ASCII."""
    typer.echo(json.dumps(value, indent=2, allow_nan=False).replace("\x7f", "\\u007f"))


def print_results(results: Results, *, as_json: bool) -> None:
    """Print the results of a study or of a table to stdout, as text or as JSON."""
    if as_json:
        print_json(results.to_json())
        return
    from slopewise.report import print_summary

    print_summary(results.record, Console())


def show(results: Results, page: Path, *, as_json: bool) -> None:
    """Print the results, then write the page: if that fails, the results are on the terminal."""
    print_results(results, as_json=as_json)
    with writing(page):
        results.report(page)
    say(f"report: {page}")


def echo(line: object) -> None:
    """Print a line of results to stdout, on a terminal wrapped between words."""
    if (console := Console()).is_terminal:
        print_line(str(line), console)
    else:
        typer.echo(printable(str(line)))


def say(line: str) -> None:
    """Print a line of anything else to stderr, on a terminal wrapped between words."""
    print_line(line, Console(stderr=True))
