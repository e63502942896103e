"""Command that predicts the classes of photos with a network of a study."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from slopewise.cli._app import Json, app, echo, print_json


@app.command()
def predict(
    folder: Annotated[
        str, typer.Argument(metavar="DIR", help="Folder of a study that ran with --keep-weights.", show_default=False)
    ],
    photos: Annotated[list[Path], typer.Argument(metavar="PHOTO", help="Picture files.", show_default=False)],
    arm: Annotated[str, typer.Option(help="Arm of the network.", show_default=False)],
    seed: Annotated[int, typer.Option(help="Seed of its trial: one that you chose beforehand.", show_default=False)],
    cell: Annotated[
        str, typer.Option(help="Settings of the trial where they differ from the study's.", show_default="the study's")
    ] = "",
    as_json: Json = False,
) -> None:
    """Predict the classes of photos.

    The network is that of one trial of a study that ran with --keep-weights; photos are read as those of the study
    were. Prints the most probable class of each and its probability, which is the network's own and no promise: it is
    often too high. A network of your own must be importable, so run this where you ran the study.

    Examples:

    \b
      slopewise predict study-photos-mynet-Net new.jpg \\
        --arm prelu_channel --seed 0

    \b
      slopewise predict first new/*.jpg --arm as_is --seed 0 --json
    """
    from slopewise.study import load_predictor

    with redirect_stdout(sys.stderr):  # of a user's network: stdout is for results
        predictions = load_predictor(folder, arm, seed, cell=cell)(photos)
    named = list(zip(map(str, photos), predictions, strict=True))
    if as_json:
        files = [{"file": photo, **asdict(prediction)} for photo, prediction in named]
        print_json({"study": folder, "arm": arm, "seed": seed, "cell": cell, "photos": files})
        return
    wide = max(len(photo) for photo, _ in named)
    long = max(len(prediction.label) for prediction in predictions)
    for photo, prediction in named:
        echo(f"{photo:<{wide}}  {prediction.label:<{long}}  {100 * prediction.probability:5.1f} %")
