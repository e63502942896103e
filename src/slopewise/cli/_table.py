"""Command that judges a table of results."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from slopewise.cli._app import Json, app, print_results, say, writing


@app.command()
def judge(
    table: Annotated[
        Path,
        typer.Argument(
            metavar="TABLE",
            help="CSV, Parquet or JSON Lines file, folder of TensorBoard runs, or MLflow's file store.",
            show_default=False,
        ),
    ],
    metric: Annotated[str, typer.Option(help="Column of the metric; of several (a,b), the first is judged.")],
    better: Annotated[str, typer.Option(help="higher or lower; of several metrics a=higher,b=lower.")],
    control: Annotated[str, typer.Option(help="Arm that the others are compared with.")],
    margin: Annotated[
        float | None,
        typer.Option(help="Smallest difference that matters, in the unit of the metric; no default."),
    ] = None,
    arm: Annotated[str | None, typer.Option(help="Column of the arms, in a table with a row for each run.")] = None,
    seed: Annotated[
        str | None, typer.Option(help="Column that pairs the runs of the arms; without it they are unpaired.")
    ] = None,
    arms: Annotated[
        str | None, typer.Option(help="Comma-separated: arms to compare; columns of a table with a row for each seed.")
    ] = None,
    floor: Annotated[
        float | None, typer.Option(help="What runs without a number count with: the value of knowing nothing.")
    ] = None,
    missing: Annotated[bool, typer.Option("--missing", help="Leave out runs without a number.")] = False,
    unit: Annotated[str | None, typer.Option(help="Unit of the metric: dB, or points for percentage points.")] = None,
    scale: Annotated[str | None, typer.Option(help="Factor from the table to the unit; 100 for fractions.")] = None,
    images: Annotated[
        int | None, typer.Option(min=1, help="Test images of a metric that is the share of them that are right.")
    ] = None,
    title: Annotated[str | None, typer.Option(help="Title of the page.")] = None,
    runs: Annotated[
        str | None, typer.Option(metavar="PATTERN", help="Folders of runs, as in '{arm}/seed{seed}'.")
    ] = None,
    take: Annotated[str, typer.Option(help="last or best value over the steps of a run in a folder.")] = "last",
    out: Annotated[Path | None, typer.Option(metavar="PAGE.html", help="Page to write.")] = None,
    as_json: Json = False,
) -> None:
    """Judge a table of results that you have; nothing is trained.

    Examples:

    \b
      slopewise judge results.csv --arm act --seed seed \\
        --metric psnr --better higher --control relu --margin 0.1

    \b
      slopewise judge wide.csv --arms relu,elu --seed seed \\
        --metric psnr --better higher --control relu --margin 0.1

    \b
      slopewise judge logs --runs '{arm}/seed{seed}' \\
        --metric val/psnr --better higher --control relu --margin 0.1
    """
    from slopewise.tables import judge as judge_table

    results = judge_table(
        table,
        metric=_listed(metric),
        better=better,
        control=control,
        margin=margin,
        arm=arm,
        seed=seed,
        arms=_listed(arms) if arms else None,
        floor=floor,
        missing=missing,
        unit=unit,
        scale=scale,
        images=images,
        title=title,
        runs=runs,
        take=take,
    )
    print_results(results, as_json=as_json)
    if out:
        with writing(out):
            results.report(out)
        say(f"report: {out}")


def _listed(text: str) -> list[str]:
    return [name.strip() for name in text.split(",")]
