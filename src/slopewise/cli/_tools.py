"""Commands other than those for studies: live pages, and inspection of checkpoints and recordings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from slopewise.cli._app import Json, app, echo, print_json, say, writing
from slopewise.errors import SlopewiseError
from slopewise.support import need


@app.command()
def watch(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder with studies or recordings below it.")],
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="By default 8460, else a free one; 0 takes a free one.")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen at; the default is reached from this machine alone.")] = (
        "127.0.0.1"
    ),
    browser: Annotated[bool, typer.Option("--open/--no-open", help="Open the page in a browser.")] = False,
) -> None:
    """Serve a live page of the studies and loops in a folder.

    Prints the address of the page, which follows them until Ctrl-C.

    Examples:

    \b
      slopewise watch study

    \b
      slopewise watch runs --port 0 --open
    """
    try:
        need("slopewise.live", what="slopewise watch", extra="study")
    except ModuleNotFoundError as error:
        raise SlopewiseError(str(error)) from error
    from slopewise.live import serve

    def ready(url: str, open_to_all: bool) -> None:
        if open_to_all:
            say(f"warning: whoever reaches this machine at {host} can read what is shown; there is no password")
        echo(url)
        if browser:
            typer.launch(url)

    serve(folder, host=host, port=port, ready=ready)


@app.command()
def inspect(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A checkpoint, or RUN.jsonl of the monitor.")],
    key: Annotated[str | None, typer.Option(help="Where in the file the state dict is, as in ema.module.")] = None,
    only: Annotated[list[str] | None, typer.Option(metavar="PATTERN", help="Layers to show; repeatable.")] = None,
    skip: Annotated[list[str] | None, typer.Option(metavar="PATTERN", help="Layers to leave out.")] = None,
    also: Annotated[
        list[str] | None, typer.Option(metavar="PATTERN", help="Layers that hold slopes whatever their names say.")
    ] = None,
    initial: Annotated[float | None, typer.Option("--init", help="The slope that training started from.")] = None,
    page: Annotated[
        Path | None, typer.Option("--html", metavar="PAGE", help="Also write a recording's page, with its charts.")
    ] = None,
    fail_on_alarm: Annotated[bool, typer.Option("--fail-on-alarm", help="Exit with status 1 on an alarm.")] = False,
    as_json: Json = False,
) -> None:
    """Show the slopes of a checkpoint, or a recording of the monitor.

    Alarms are shown with both. A checkpoint (of torch.save or safetensors) is a state dict, a training checkpoint with
    one inside, a pickled module, or the .index.json of one in parts; no code of the model is needed, and none of the
    file is run. A recording is a file of slopewise.monitor.sinks.JsonLines; the run may still go on.

    Examples:

    \b
      slopewise inspect last.ckpt

    \b
      slopewise inspect model.safetensors --only 'layer4*' --json

    \b
      slopewise inspect last.pt --key ema --init 0.25 --fail-on-alarm

    \b
      slopewise inspect run.jsonl --html watch.html
    """
    from slopewise.recording import is_recording

    if is_recording(file):
        flags = {"--key": key, "--only": only, "--skip": skip, "--also": also, "--init": initial}
        for_checkpoints = [flag for flag, value in flags.items() if value not in (None, [])]
        _inspect_run(file, page, for_checkpoints, fail_on_alarm=fail_on_alarm, as_json=as_json)
        return
    if page is not None:
        raise SlopewiseError(f"--html is for recordings of the monitor, which '{file}' is not")

    from slopewise.checkpoint import read_checkpoint, strip_prefixes
    from slopewise.report import print_slopes
    from slopewise.slopes import inspect_slopes

    checkpoint = read_checkpoint(file, key, option="--key")
    tensors = strip_prefixes(checkpoint.tensors)
    inspection = inspect_slopes(
        tensors, only=only or (), skip=skip or (), also=also or (), init=initial, ties=checkpoint.ties
    )
    if as_json:
        left_out = [{"entry": name, "reason": what} for name, what in checkpoint.left_out.items()]
        print_json({"file": str(file), "key": checkpoint.key, "left_out": left_out, **inspection.to_json()})
    else:
        renamed = "" if tensors.keys() == checkpoint.tensors.keys() else ", shown without the names of their wrappers"
        say(f"{file}{f', {checkpoint.key}' if checkpoint.key else ''}: {len(tensors)} tensors{renamed}")
        for name, what in checkpoint.left_out.items():
            say(f"left out: {name} is {what}")
        print_slopes(inspection, Console())
    if fail_on_alarm and inspection.alarming:
        raise typer.Exit(1)


def _inspect_run(
    file: Path, page: Path | None, for_checkpoints: list[str], *, fail_on_alarm: bool, as_json: bool
) -> None:
    from slopewise.recording import read_recording, recording_json
    from slopewise.report import print_recording

    if for_checkpoints:
        raise SlopewiseError(f"{for_checkpoints[0]} is for checkpoints, and '{file}' is a recording of the monitor")
    recording = read_recording(file)
    if as_json:
        print_json({"file": str(file), **recording_json(recording)})
    else:
        print_recording(recording, Console())
    if page is not None:
        from slopewise.report import write_watch_html

        with writing(page):
            write_watch_html(recording, page)
        say(f"page: {page}")
    if fail_on_alarm and recording.alarms:
        raise typer.Exit(1)
