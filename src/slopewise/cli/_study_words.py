"""Commands that print the results of a study in words: the ledger of claims, and a paragraph for a paper."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from slopewise.cli._app import Folder, Json, app, echo, print_json
from slopewise.errors import TableError


@app.command()
def claims(
    folder: Folder,
    only: Annotated[
        str | None, typer.Option(metavar="NAME", help="Print one claim in full, by its name or number.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List the claims about PReLU with a study's verdict on each.

    Each verdict comes with its figure and its interval.

    Examples:

    \b
      slopewise claims study

    \b
      slopewise claims study --only tuned-score
    """
    from slopewise.analysis.claims import claim_of
    from slopewise.report import claims_json, ledger_info, print_claim, print_claims
    from slopewise.study import load_study

    if only is not None:
        only = claim_of(only).id
    info = ledger_info(load_study(folder).record)
    entries = [*(claim.evidence for claim in info.tested), *info.untested]
    if as_json:
        print_json([entry for entry in claims_json(info) if only in (None, entry["claim"])])
    elif only is None:
        print_claims(info, Console())
    else:
        print_claim(next(entry for entry in entries if entry.claim == only), Console())


@app.command()
def paragraph(folder: Folder) -> None:
    """Print methods and results as a paragraph for a paper.

    Example:

    \b
      slopewise paragraph study

    `slopewise judge --paragraph` prints that of a table of results.
    """
    from slopewise.report import paper_paragraph
    from slopewise.study import load_study

    if Path(folder).is_file():
        raise TableError(
            f"'{folder}' is no study's folder; of a table of results, `slopewise judge --paragraph` prints it"
        )
    echo(paper_paragraph(load_study(folder).record))
