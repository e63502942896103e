"""Commands that judge what others have measured: a table of runs, or the means in a paper."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from slopewise.cli._app import Json, app, echo, print_json, print_results, say, writing
from slopewise.errors import TableError, nearest
from slopewise.support import quoted

if TYPE_CHECKING:
    from slopewise.analysis import Published


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
    metric: Annotated[
        str | None, typer.Option(help="Column of the metric; of several (a,b), the first is judged.")
    ] = None,
    better: Annotated[str | None, typer.Option(help="higher or lower; of several metrics a=higher,b=lower.")] = None,
    control: Annotated[str | None, typer.Option(help="Arm that the others are compared with.")] = None,
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
    as_paragraph: Annotated[
        bool, typer.Option("--paragraph", help="Print a paragraph for a paper instead of the table.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Judge a table of results that you have; nothing is trained.

    A table with columns such as mean, std and n, a row for each arm, is judged as `slopewise means` does.

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
    from slopewise.tables import Request, means_in, read_table
    from slopewise.tables import judge as judge_table

    if as_paragraph and as_json:
        raise TableError("--paragraph and --json: give one of them")
    source = None if table.is_dir() else read_table(table, Request(runs=runs))  # a folder, once metrics are known
    wide = arms is not None and source is not None and set(_listed(arms)) <= {*source.names}
    printed = None if source is None or seed or wide else means_in(source, arm, metric and _listed(metric)[0])
    metric = metric or ("mean" if printed else None)
    if metric is None or better is None or control is None:
        asked = {
            "which column is the metric (--metric)": metric,
            "is higher or lower better (--better)": better,
            "which arm is the control (--control)": control,
        }
        columns = f" Its columns: {', '.join(source.names[:20])}" if source else ""
        raise TableError(f"{table}: {'; '.join(what for what, given in asked.items() if given is None)}?{columns}")
    if printed:
        of_runs: dict[str, object] = {"--floor": floor, "--missing": missing, "--scale": scale, "--images": images}
        of_runs |= {"--title": title, "--out": out, "--paragraph": as_paragraph, "--take": take != "last"}
        for option, given in (of_runs | {f"--metric {metric}": "," in metric}).items():
            if given is not None and given is not False:  # a floor may be 0
                raise TableError(f"{table} has a mean for each arm: {option} is for tables with a row for each run")
        chosen = _listed(arms) if arms else [*printed]
        for name in chosen:
            if name not in printed:
                raise TableError(f"{table}: no arm {quoted(name)}; {nearest(name, [*printed])}")
        _print_means({name: printed[name] for name in chosen}, control, margin, better, unit or "", as_json=as_json)
        return
    results = judge_table(
        source or table,
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
    if as_paragraph:
        from slopewise.report import paper_paragraph

        echo(paper_paragraph(results.record))
    else:
        print_results(results, as_json=as_json)
    if out:
        with writing(out):
            results.report(out)
        say(f"report: {out}")


def _listed(text: str) -> list[str]:
    return [name.strip() for name in text.split(",")]


@app.command()
def means(
    arms: Annotated[list[str], typer.Argument(metavar="ARM=MEAN[,SD,N]", help="What is printed of each arm.")],
    control: Annotated[str, typer.Option(help="Arm that the others are compared with.")],
    margin: Annotated[float, typer.Option(help="Smallest difference that matters, in the unit of the means.")],
    better: Annotated[str, typer.Option(help="higher or lower.")] = "higher",
    unit: Annotated[str, typer.Option(help="Unit of differences: dB, or points for percentage points.")] = "",
) -> None:
    """Judge means that a paper prints: mean, deviation, runs.

    Give the standard deviation between runs (a standard error times the root of N) and the number of runs. Without them
    there is no verdict, but the spread up to which the difference would be shown.

    Examples:

    \b
      slopewise means relu=93.1,0.2,10 prelu=93.9,0.3,10 \\
        --control relu --margin 0.5 --unit points

    \b
      slopewise means relu=33.82 prelu=32.64 \\
        --control relu --margin 0.5 --better lower
    """
    printed = dict(map(_printed, arms))
    if len(printed) < len(arms):
        raise TableError("an arm is given twice: give each a name of its own")
    _print_means(printed, control, margin, better, unit)


def _print_means(
    printed: dict[str, Published], control: str, margin: float | None, better: str, unit: str, *, as_json: bool = False
) -> None:
    from slopewise.analysis import judge_means

    if better not in ("higher", "lower"):
        raise TableError(f"--better {better}: write higher or lower")
    if margin is None:
        raise TableError("no margin is given: choose the smallest difference that would matter to you, --margin 0.1")
    direction: Literal["higher", "lower"] = "lower" if better == "lower" else "higher"
    sentences = judge_means(printed, control, margin=margin, better=direction, unit=unit)
    if as_json:
        print_json({"sentences": sentences})
    for line in () if as_json else sentences:
        echo(line)
    if not as_json:
        say(
            "From means alone nobody can tell if runs were paired, diverged or were chosen, nor if their noise is "
            "lopsided: ask for the score of every run."
        )


def _printed(words: str) -> tuple[str, Published]:
    """Return name and figures of an arm: NAME=MEAN or NAME=MEAN,SD,N."""
    from slopewise.analysis import Published

    name, _, figures = words.partition("=")
    if name := name.strip():
        with suppress(ValueError):
            match figures.replace("\u00b1", ",").split(","):
                case [mean]:
                    return name, Published(float(mean))
                case [mean, sd, n]:
                    return name, Published(float(mean), float(sd), int(n))
    raise TableError(f"{words!r}: write ARM=MEAN or ARM=MEAN,SD,N, as in prelu=93.9,0.3,10")
