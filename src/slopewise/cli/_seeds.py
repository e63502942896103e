"""Command that says how many seeds show an effect, before anything is trained."""

from __future__ import annotations

from typing import Annotated

import typer

from slopewise.cli._app import Json, app, echo, print_json
from slopewise.errors import SpecError


@app.command()
def seeds(
    spread: Annotated[
        float, typer.Option(help="Standard deviation over seeds: of paired differences; with --unpaired of one arm.")
    ],
    effect: Annotated[float | None, typer.Option(help="Difference to show, in the unit of the spread.")] = None,
    number: Annotated[
        int | None, typer.Option("--seeds", min=1, help="Seeds that you have, to be told what they show.")
    ] = None,
    arms: Annotated[int, typer.Option(min=1, help="Arms beside the control.")] = 1,
    unpaired: Annotated[bool, typer.Option("--unpaired", help="Runs of two arms share no seed.")] = False,
    as_json: Json = False,
) -> None:
    """Say how many seeds show an effect, or what seeds show.

    Shown means: with 80 % power, at the level of Holm's correction over the arms. A pilot study or a table of runs
    gives the spread of paired differences. Where only that of single runs is known, take --unpaired: pairs need fewer,
    unless runs of one seed have nothing in common.

    Examples:

    \b
      slopewise seeds --spread 0.4 --effect 0.5

    \b
      slopewise seeds --spread 0.4 --effect 0.5 --arms 4 --unpaired

    \b
      slopewise seeds --spread 0.4 --seeds 10
    """
    import math

    from slopewise.analysis import seeds_floor, seeds_needed, smallest_detectable
    from slopewise.drawing import count

    if (effect is None) == (number is None):
        raise SpecError(
            "give either --effect, to be told the seeds that show it, or --seeds, to be told what they show"
        )
    for name, value in (("--spread", spread), ("--effect", effect)):
        if value is not None and not 0 < value < math.inf:
            raise SpecError(f"{name}: a number above 0, got {value:g}")
    paired = not unpaired
    sd = spread if paired else math.sqrt(2) * spread
    floor = seeds_floor(arms, paired=paired)
    if number is None:
        needed = seeds_needed(float(effect or 0.0), sd, arms, paired=paired)
    else:
        needed, effect = number, smallest_detectable(number, sd, arms, control=None if paired else number)
    if as_json:
        print_json(
            {"seeds": needed, "effect": effect, "spread": spread, "arms": arms, "paired": paired, "fewest": floor}
        )
        return
    noun, of = ("pair", f"of runs (seed{'s' * (needed != 1)})") if paired else ("run", "of each arm")
    have = f"More than 1,000,000 {noun}s {of}" if needed is None else f"{count(needed, noun)} {of}"
    beside = "" if arms == 1 else f", {arms} arms beside the control"
    least = f"Fewer than {floor} can show no effect, however large."
    if needed is None:
        echo(f"{have} would be needed to show a difference of {effect:g}. {least}")
    elif effect is None:
        echo(f"{have} cannot show any effect{beside}; use at least {floor}.")
    else:
        ratio = f"{effect / spread:.2g} times the spread of {spread:g}"
        echo(f"{have} show a difference of {effect:.3g}, {ratio}, with 80 % power{beside}. {least}")
