"""Commands for studies."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from slopewise.cli._app import Folder, Json, app, echo, print_json, say, show, writing
from slopewise.cli.names import FORMATS, words_of
from slopewise.errors import SpecError, nearest

if TYPE_CHECKING:
    from slopewise.records import StudyCounts
    from slopewise.results import Results


@app.command()
def init(
    path: Annotated[Path, typer.Argument(help="File to write.")] = Path("study.toml"),
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
) -> None:
    """Write a commented study.toml with every key at its default.

    Example:

    \b
      slopewise init && slopewise run study.toml
    """
    text = resources.files("slopewise.study").joinpath("templates/study.toml").read_text(encoding="utf-8")
    try:
        with path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise SpecError(f"'{path}' exists: give another name, or --force to overwrite it") from error
    except OSError as error:
        raise SpecError(f"cannot write '{path}': {error.strerror}") from error
    say(f"wrote {path}; next: slopewise run {path}")


@app.command()
def status(folder: Folder, as_json: Json = False) -> None:
    """Show how far a study is: trials finished, failed, missing.

    For each arm, with the trials that diverged; and whether the study goes on.

    Example:

    \b
      slopewise status study
    """
    from slopewise.drawing import count
    from slopewise.report import print_status, status_json
    from slopewise.study import read_counts

    counts = read_counts(folder)
    if as_json:
        print_json(status_json(counts))
        return
    echo(f"{_state(folder, counts)}: {counts.ended} of {count(counts.planned, 'trial')}")
    print_status(counts, Console())


def _state(folder: str, counts: StudyCounts) -> str:
    from time import time

    from slopewise.live import stalled
    from slopewise.study import read_running

    running, now = read_running(folder), time()
    if counts.claimed and (running is None or running.stale(now)):
        return "running"  # elsewhere
    if running is None:
        return "ended" if counts.ended >= counts.planned else "stopped"
    return "stalled" if running.stale(now) or stalled(now - running.changed, running.usual) else "running"


@app.command()
def report(
    folder: Folder,
    to: Annotated[Path | None, typer.Option(help="File to write.", show_default="DIR/report.html")] = None,
    as_json: Json = False,
) -> None:
    """Write the report page again and print the table.

    Example:

    \b
      slopewise report study --to /tmp/page.html
    """
    results = _open(folder)
    show(results, to or _beside(folder, "report.html"), as_json=as_json)


@app.command()
def export(
    folder: Folder,
    form: Annotated[
        str, typer.Option("--format", help="json, csv or parquet.", autocompletion=words_of(FORMATS))
    ] = FORMATS[0],
    to: Annotated[
        Path | None,
        typer.Option(
            help="File (json) or folder (csv, parquet) to write.", show_default="DIR/export.json or DIR/export-FORMAT"
        ),
    ] = None,
) -> None:
    """Write every record of a study to files for other tools.

    Examples:

    \b
      slopewise export study --format csv --to tables

    \b
      slopewise export study --format json --to study.json
    """
    from slopewise.report import EXPORTS

    if form not in EXPORTS:
        raise SpecError(f"unknown format '{form}'; {nearest(form, EXPORTS)}")
    results = _open(folder)
    target = to or _beside(folder, "export.json" if form == "json" else f"export-{form}")
    with writing(target):
        for path in EXPORTS[form](results.record, target):
            echo(path)


def _open(folder: str) -> Results:
    from slopewise.study import load_study

    return load_study(folder)


def _beside(folder: str, name: str) -> Path:
    """Return the path of a file in a study's folder; a study that is named by its URL has none."""
    from slopewise.study import is_url

    if is_url(folder):
        raise SpecError("a study that is named by the URL of its database has no folder: give the file with --to")
    return Path(folder, name)
