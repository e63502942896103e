"""The commands: thin verbs over the API.

Exit status: 0 done; 1 some trial failed, an alarm under --fail-on-alarm, or an error of ours; 2 bad input; 130
interrupted. Results go to stdout, everything else to stderr.
"""

from __future__ import annotations

import io
import json
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from slopewise.errors import SlopewiseError, SpecError, nearest

if TYPE_CHECKING:
    from slopewise.results import Results
    from slopewise.study import Study

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="What does a learned negative slope (PReLU) do to the training of your CNN, and is it worth it?",
)

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a study.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object to stdout.")]


@app.command()
def run(
    spec: Annotated[Path | None, typer.Argument(metavar="SPEC.toml", help="A spec; flags beat it.")] = None,
    data: Annotated[
        str | None, typer.Option(help="digits, fashion-mnist, a folder of images, an .npz file, or module:callable.")
    ] = None,
    train_size: Annotated[int | None, typer.Option(help="Class-balanced subset of the training images.")] = None,
    model: Annotated[
        str | None, typer.Option(help="cnn, resnet20, module:callable, or timm:, torchvision:, transformers:NAME.")
    ] = None,
    checkpoint: Annotated[
        str | None, typer.Option(help="File of torch.save or safetensors that every trial starts from.")
    ] = None,
    arms: Annotated[str | None, typer.Option(help="Comma-separated; NAME=ACTIVATION names an arm.")] = None,
    control: Annotated[str | None, typer.Option(help="Arm to compare with; by default the first.")] = None,
    seeds: Annotated[str | None, typer.Option(help="A count (10), a list (3,5,8) or a range (10-19).")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training part.")] = None,
    lr: Annotated[float | None, typer.Option(help="Peak learning rate.")] = None,
    margin: Annotated[float | None, typer.Option(help="Smallest difference that matters, in points.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any key of the spec; repeatable.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the study; the same command there resumes it.")] = Path("study"),
    workers: Annotated[int | None, typer.Option(help="Processes side by side; by default one a core.")] = None,
    engine: Annotated[str, typer.Option(help="Where trials run.")] = "local",
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Run failed trials again.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the trials; run nothing, write nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Run a study: train every arm from every seed, judge, and write OUT/study.db and OUT/report.html.

    With no argument, the default study on scikit-learn's digits. Run again, it does only what is missing.

    Examples:

      slopewise run

      slopewise run --data fashion-mnist --train-size 5000 --model resnet20 --arms relu,prelu_channel --seeds 10

      slopewise run study.toml --set train.lr=0.02 --set model.options.batch_norm=true --out bn

      slopewise run --data ~/photos --model mypackage.nets:build --out photos

      slopewise run --data ~/photos --model mypackage.nets:build --checkpoint best.pt --arms as_is,prelu_channel_0

      slopewise run --arms relu,again=relu      (A/A: the differences are exactly 0)
    """
    flags = {
        "data.source": data,
        "data.train_size": train_size,
        "model.name": model,
        "model.checkpoint": checkpoint,
        "arms": arms,
        "control": control,
        "seeds": seeds,
        "train.epochs": epochs,
        "train.lr": lr,
        "margin": margin,
    }
    from slopewise.study._preflight import check_names

    study = _study(spec, flags, settings or [])
    missing = study.missing(out, retry_failed=retry_failed)
    if dry_run:
        check_names(study.spec)
        _print_plan(study, missing, as_json=as_json)
        return
    results = _run(study, out, missing, engine=engine, workers=workers, retry_failed=retry_failed)
    _show(results, out / "report.html", as_json=as_json)
    if any(trial.status == "failed" for trial in results.record.trials):
        _say("some trials failed (see the report); `--retry-failed` runs them again")
        raise typer.Exit(1)


@app.command()
def init(
    path: Annotated[Path, typer.Argument(help="File to write.")] = Path("study.toml"),
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
) -> None:
    """Write a commented study.toml with every key at its default.

    Example:

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
    _say(f"wrote {path}; next: slopewise run {path}")


@app.command()
def status(folder: Folder, as_json: Json = False) -> None:
    """How far a study is: trials finished, failed, diverged and missing per arm.

    Example:

      slopewise status study
    """
    from slopewise.report import print_status, to_json

    results = _open(folder)
    if as_json:
        _print_json(to_json(results.record)["trials"])
    else:
        print_status(results.record, Console())


@app.command()
def report(
    folder: Folder,
    to: Annotated[Path | None, typer.Option(help="File to write; by default DIR/report.html.")] = None,
    as_json: Json = False,
) -> None:
    """Write the report page again and print the table.

    Example:

      slopewise report study --to /tmp/page.html
    """
    results = _open(folder)
    _show(results, to or folder / "report.html", as_json=as_json)


@app.command()
def export(
    folder: Folder,
    form: Annotated[str, typer.Option("--format", help="json, csv or parquet.")] = "json",
    to: Annotated[Path | None, typer.Option(help="File (json) or folder (csv, parquet) to write.")] = None,
) -> None:
    """Write every record of a study to files for other tools.

    Examples:

      slopewise export study --format csv --to tables

      slopewise export study --format json --to study.json
    """
    from slopewise.report import EXPORTS

    if form not in EXPORTS:
        raise SpecError(f"unknown format '{form}'; {nearest(form, EXPORTS)}")
    results = _open(folder)
    target = to or folder / ("export.json" if form == "json" else f"export-{form}")
    with _writing(target):
        for path in EXPORTS[form](results.record, target):
            typer.echo(path)


@app.command()
def bench(
    threads: Annotated[int | None, typer.Option(help="Threads of PyTorch; by default as many as it takes.")] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Tiny and in seconds: that it runs, not what it costs.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Measure what PReLU costs on this machine, in time and memory, against ReLU and against stock PyTorch.

    The short form of the benchmarks, in under two minutes on two cores: one activation, an activation behind a
    BatchNorm, and a training step of ResNet-20. Leave the machine alone meanwhile. All figures are ratios within this
    run. It ends with one line per question.

    Examples:

      slopewise bench

      slopewise bench --threads 2 --json > bench.json
    """
    from slopewise import bench as benchmarks

    if threads is not None and threads < 1:
        raise SlopewiseError(f"threads: at least 1, got {threads}")
    with benchmarks.using_threads(threads):
        facts = benchmarks.machine()
        _say(benchmarks.heading(facts))
        measurements = benchmarks.run_jobs(benchmarks.short_jobs(quick=quick), _say)
    lines = benchmarks.answers(measurements)
    if as_json:
        _print_json({"facts": facts, "answers": lines, "measurements": [found.to_json() for found in measurements]})
        return
    benchmarks.print_measurements(measurements, Console())
    for line in lines:
        typer.echo(line)


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
    """Show studies and watched loops while they run: prints the address of a page that follows them, until Ctrl-C.

    Examples:

      slopewise watch study

      slopewise watch runs --port 0 --open
    """
    try:
        from slopewise.live import serve
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("slopewise"):
            raise
        raise SlopewiseError(f"slopewise watch needs '{error.name}': pip install 'slopewise[study]'") from error

    def ready(url: str, open_to_all: bool) -> None:
        if open_to_all:
            _say(f"warning: whoever reaches this machine at {host} can read what is shown; there is no password")
        typer.echo(url)
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
    """Show the slopes in a checkpoint, or what the monitor recorded of a run, with alarms.

    A checkpoint (of torch.save or safetensors) is a state dict, a training checkpoint with one inside, or the
    .index.json of one in parts; no code of the model is needed, and none is run. A recording is a file of
    slopewise.monitor.sinks.JsonLines; the run may still go on.

    Examples:

      slopewise inspect last.ckpt

      slopewise inspect model.safetensors --only 'layer4*' --json

      slopewise inspect last.pt --key ema --init 0.25 --fail-on-alarm

      slopewise inspect run.jsonl --html watch.html
    """
    from slopewise._run_file import is_recording

    if is_recording(file):
        flags = {"--key": key, "--only": only, "--skip": skip, "--also": also, "--init": initial}
        for_checkpoints = [flag for flag, value in flags.items() if value not in (None, [])]
        _inspect_run(file, page, for_checkpoints, fail_on_alarm=fail_on_alarm, as_json=as_json)
        return
    if page is not None:
        raise SlopewiseError(f"--html is for recordings of the monitor, which '{file}' is not")

    from slopewise.checkpoint import read_checkpoint, strip_prefixes
    from slopewise.report._slopes import print_slopes
    from slopewise.slopes import inspect_slopes

    found = read_checkpoint(file, key)
    tensors = strip_prefixes(found.tensors)
    inspection = inspect_slopes(tensors, only=only or (), skip=skip or (), also=also or (), init=initial)
    if as_json:
        _print_json({"file": str(file), "key": found.key, **inspection.to_json()})
    else:
        renamed = "" if tensors.keys() == found.tensors.keys() else ", shown without the names of their wrappers"
        _say(f"{file}{f', {found.key}' if found.key else ''}: {len(tensors)} tensors{renamed}")
        print_slopes(inspection, Console())
    if fail_on_alarm and inspection.alarming:
        raise typer.Exit(1)


def main() -> None:
    """Run the command line."""
    # A user's own modules lie beside the spec, that is where the command is typed; workers inherit the path.
    sys.path.insert(0, str(Path.cwd()))
    for out in (sys.stdout, sys.stderr):
        if isinstance(out, io.TextIOWrapper):
            out.reconfigure(errors="replace")  # a narrow encoding costs a sign, not the table
    try:
        app()
    except SlopewiseError as error:
        _say(f"error: {error}")
        sys.exit(2)


def _study(path: Path | None, flags: dict[str, Any], settings: list[str]) -> Study:
    from slopewise.study import Study
    from slopewise.study._spec_input import override, parse_spec, read_spec

    fields = read_spec(path) if path else {}
    for key, value in flags.items():
        if value is not None:
            fields = override(fields, key, value)
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            raise SpecError(f"--set {setting}: write KEY=VALUE, as in --set train.lr=0.02")
        fields = override(fields, key.strip(), _toml_value(text.strip()))
    return Study(parse_spec(fields))


def _toml_value(text: str) -> Any:
    """A TOML value, or the text itself where it is none: `--set data.source=digits` needs no quotes."""
    try:
        table = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return table["value"] if len(table) == 1 else text


def _run(
    study: Study, out: Path, missing: tuple[Any, ...], *, engine: str, workers: int | None, retry_failed: bool
) -> Results:
    from slopewise.report import StudyProgress

    try:
        # What a user's model prints belongs with the log: stdout is for results.
        with StudyProgress(missing, Console(stderr=True)) as progress, redirect_stdout(sys.stderr):
            return study.run(out, engine=engine, workers=workers, retry_failed=retry_failed, on_event=progress)
    except KeyboardInterrupt:
        kept = len(study.plan()) - len(study.missing(out))
        _say(
            f"interrupted: {kept} of {len(study.plan())} trials are kept in {out}; the same command goes on from there"
        )
        raise typer.Exit(130) from None


def _open(folder: Path) -> Results:
    from slopewise.study import read_results

    return read_results(folder)


@contextmanager
def _writing(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SlopewiseError(f"cannot write '{error.filename or target}': {error.strerror}") from error


def _show(results: Results, page: Path, *, as_json: bool) -> None:
    """Print first, so that a page that cannot be written costs nobody the answer."""
    _print_results(results, as_json=as_json)
    with _writing(page):
        results.report(page)
    _say(f"report: {page}")


def _inspect_run(
    file: Path, page: Path | None, for_checkpoints: list[str], *, fail_on_alarm: bool, as_json: bool
) -> None:
    from slopewise._run_file import recording_json
    from slopewise.monitor import read_recording
    from slopewise.report import print_recording, write_watch_html

    if for_checkpoints:
        raise SlopewiseError(f"{for_checkpoints[0]} is for checkpoints, and '{file}' is a recording of the monitor")
    recording = read_recording(file)
    if as_json:
        _print_json({"file": str(file), **recording_json(recording)})
    else:
        print_recording(recording, Console())
    if page is not None:
        with _writing(page):
            write_watch_html(recording, page)
        _say(f"page: {page}")
    if fail_on_alarm and recording.alarms:
        raise typer.Exit(1)


def _print_plan(study: Study, missing: tuple[Any, ...], *, as_json: bool) -> None:
    todo = set(missing)
    if as_json:
        trials = [{"arm": t.arm, "seed": t.seed, "missing": t in todo} for t in study.plan()]
        _print_json({"spec": study.spec.model_dump(mode="json"), "trials": trials})
        return
    for trial in study.plan():
        typer.echo(f"{'run ' if trial in todo else 'done'}  {trial.arm}  seed {trial.seed}")
    typer.echo(f"{len(missing)} of {len(study.plan())} trials to run")


def _print_results(results: Results, *, as_json: bool) -> None:
    if as_json:
        _print_json(results.to_json())
    else:
        from slopewise.report import print_summary

        print_summary(results.record, Console())


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, allow_nan=False))


def _say(line: str) -> None:
    Console(stderr=True).print(Text(line), soft_wrap=True, highlight=False)
