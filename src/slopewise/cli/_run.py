"""The command that runs a study."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import typer.core
from rich.console import Console

from slopewise.cli._app import Json, app, echo, print_json, say, show
from slopewise.cli._duration import duration
from slopewise.cli._metrics import stated_metrics
from slopewise.cli._size import size
from slopewise.cli.names import ARMS, DEFAULT_ARMS, DEVICES, ENGINES, MODELS, SOURCES, TASKS, engines, words_of
from slopewise.errors import SpecError, StoreError
from slopewise.support import shortened

if TYPE_CHECKING:
    from slopewise.events import Event, TrialKey
    from slopewise.results import Results
    from slopewise.study import Study


_INSTALLED = "engines of installed packages, "


def _engines_of(incomplete: str) -> list[str]:
    return words_of(engines())(incomplete)


class _Run(typer.core.TyperCommand):
    """A command whose help names the engines of installed packages; to look for them takes time, so only here."""

    def get_help(self, ctx: Any) -> str:
        (engine,) = (option for option in self.params if option.name == "engine")
        installed = "".join(f"{name} (installed), " for name in engines()[len(ENGINES) :])
        engine.help = engine.help.replace(_INSTALLED, installed)  # type: ignore[attr-defined]
        return super().get_help(ctx)


@app.command(cls=_Run)
def run(
    spec: Annotated[Path | None, typer.Argument(metavar="SPEC.toml", help="A spec; flags beat it.")] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="A folder of images, an .npz file, module:callable, or one of digits, fashion-mnist, patches, shapes.",
            show_default="digits; shapes to segment, patches to restore",
            autocompletion=words_of(SOURCES),
        ),
    ] = None,
    train: Annotated[
        str | None, typer.Option(help="Your own training function, module:function, instead of the study's loop.")
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(
            help=f"{', '.join(TASKS)}, or module:Class.", show_default=TASKS[0], autocompletion=words_of(TASKS)
        ),
    ] = None,
    train_size: Annotated[
        int | None, typer.Option(help="Class-balanced subset of the training images.", show_default="all")
    ] = None,
    image_size: Annotated[
        Any,
        typer.Option(
            parser=size,
            metavar="SIZE",
            show_default="32",
            help="Pixels that a folder's images are resized to: 64, or HEIGHTxWIDTH.",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="Your network, module:callable, or timm:NAME, torchvision:NAME, transformers:NAME, or one of "
            f"{', '.join(MODELS)}.",
            show_default="cnn; unet to segment, espcn to restore",
            autocompletion=words_of(MODELS),
        ),
    ] = None,
    checkpoint: Annotated[
        str | None, typer.Option(help="File of torch.save or safetensors that every trial starts from.")
    ] = None,
    arms: Annotated[
        str | None,
        typer.Option(
            help="Comma-separated; NAME=ACTIVATION names an arm. as_is is the network's own; others: "
            f"{', '.join(ARMS[1:])}, or module:callable.",
            show_default=",".join(DEFAULT_ARMS),
            autocompletion=words_of(ARMS, separator=","),
        ),
    ] = None,
    control: Annotated[
        str | None, typer.Option(help="Arm that the others are compared with.", show_default="the first")
    ] = None,
    seeds: Annotated[
        str | None, typer.Option(help="A count (10), a list (3,5,8) or a range (10-19).", show_default="10")
    ] = None,
    until_decided: Annotated[
        bool,
        typer.Option(
            "--until-decided", help="Adaptive: each arm gets seeds until it is decided, at most SEEDS (default 40)."
        ),
    ] = False,
    epochs: Annotated[
        int | None,
        typer.Option(help="Passes over the training part.", show_default="40; 10 to segment, 12 to restore"),
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Images in a step.", show_default="64; 16 to segment or restore")
    ] = None,
    lr: Annotated[float | None, typer.Option(help="Peak learning rate.", show_default="0.025 to classify")] = None,
    device: Annotated[
        str | None,
        typer.Option(help=f"{', '.join(DEVICES)}.", show_default=DEVICES[0], autocompletion=words_of(DEVICES)),
    ] = None,
    margin: Annotated[
        float | None,
        typer.Option(
            help="Smallest difference in the primary metric that matters, in its unit.",
            show_default="0.5 points of accuracy",
        ),
    ] = None,
    metric: Annotated[
        str | None, typer.Option(help="Metrics that --train returns, comma-separated; the first decides the verdicts.")
    ] = None,
    better: Annotated[
        str | None, typer.Option(help="higher or lower: the direction that is better; or psnr=higher,mae=lower.")
    ] = None,
    unit: Annotated[str | None, typer.Option(help="Unit of the metrics, such as dB; or psnr=dB,mae=mm.")] = None,
    floor: Annotated[
        float | None,
        typer.Option(help="Score that a diverged trial counts with, where the metric has none of its own."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Title of the report.", show_default="model, data and arms")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any key of the spec; repeatable.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of the study; the same command resumes it.", show_default="study-DATA-MODEL"),
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Database for the results, postgresql://USER@HOST:PORT/DB?study=NAME."),
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Processes side by side.", show_default="one a core")] = None,
    engine: Annotated[
        str,
        typer.Option(
            help=f"Where trials run: local (processes on this machine), ray (tasks of a Ray cluster), {_INSTALLED}or "
            "module:Class.",
            autocompletion=_engines_of,
        ),
    ] = ENGINES[0],
    address: Annotated[
        str | None,
        typer.Option(help="Cluster of the engine: auto or HOST:PORT.", show_default="one on this machine"),
    ] = None,
    engine_options: Annotated[
        list[str] | None, typer.Option("--engine-option", metavar="KEY=VALUE", help="Option of the engine; repeatable.")
    ] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Run failed trials again.")] = False,
    time_limit: Annotated[
        float | None,
        typer.Option(
            parser=duration,
            metavar="TIME",
            help="Longest time of one attempt at a trial (90s, 2h).",
            show_default="none",
        ),
    ] = None,
    checkpoint_every: Annotated[
        float | None,
        typer.Option(
            parser=duration,
            metavar="TIME",
            help="Time between checkpoints of a trial; 0 saves none.",
            show_default="5m",
        ),
    ] = None,
    grace: Annotated[
        float | None,
        typer.Option(
            parser=duration, metavar="TIME", help="Time to save checkpoints or end after SIGTERM.", show_default="25s"
        ),
    ] = None,
    keep_weights: Annotated[
        bool, typer.Option("--keep-weights", help="Keep each trial's final weights, OUT/weights/ARM/seed-N.pt.")
    ] = False,
    keep_memory: Annotated[
        bool,
        typer.Option(
            "--keep-memory/--no-keep-memory", help="Let workers keep freed memory: faster steps, more resident memory."
        ),
    ] = True,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Rehearse and count the trials; write nothing.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="List every trial in a dry run.")] = False,
    as_json: Json = False,
) -> None:
    """Run a study: train every arm from every seed, and judge.

    Writes OUT/study.db and OUT/report.html. With no argument, the default study on scikit-learn's digits. Run again, it
    does only what is missing.

    Examples:

    \b
      slopewise run

    \b
      slopewise run --data fashion-mnist --train-size 5000 --model resnet20 \\
        --arms relu,prelu_channel --seeds 10

    \b
      slopewise run study.toml --set train.lr=0.02 \\
        --set model.options.batch_norm=true --out bn

    \b
      slopewise run --data ~/photos --model mynet:Net --image-size 64 \\
        --device auto --arms as_is,prelu_channel

    \b
      slopewise run --data ~/photos --model mynet:Net --checkpoint best.pt \\
        --arms as_is,prelu_channel_0

    \b
      slopewise run --train mytrain:train --arms relu,prelu_channel \\
        --metric psnr --better higher --margin 0.1

    An A/A study, whose differences are exactly 0:

    \b
      slopewise run --arms relu,again=relu
    """
    from slopewise.study import default_folder

    flags = {
        "name": name,
        "task.kind": task,
        "data.source": data,
        "train.function": train,
        "metrics": stated_metrics(metric, better, unit),
        "data.train_size": train_size,
        "data.image_size": image_size,
        "model.name": model,
        "model.checkpoint": checkpoint,
        "arms": arms,
        "control": control,
        "seeds": seeds,
        "until_decided": True if until_decided else None,
        "train.epochs": epochs,
        "train.lr": lr,
        "train.batch_size": batch_size,
        "hardware.accelerator": device,
        "margin": margin,
        "floor": floor,
    }
    study = _study(spec, flags, settings or [])
    placing: dict[str, Any] = {
        "engine": engine,
        "workers": workers,
        "engine_options": _options(engine_options or [], address),
    }
    out = out or default_folder(study.spec)
    missing = study.missing(out, store=store, retry_failed=retry_failed)
    if dry_run:
        from slopewise.report import outlook

        with redirect_stdout(sys.stderr):
            paragraph = outlook(study.prepare(missing, **placing))
        say(f"{paragraph} Folder: {out}.")
        plan = study.plan(out, store=store)
        _print_plan(plan, study, missing, as_json=as_json, verbose=verbose)
        return
    times = {"checkpoint_every": checkpoint_every, "grace": grace}
    placing |= {name: seconds for name, seconds in times.items() if seconds is not None}
    asked = {
        "retry_failed": retry_failed,
        "time_limit": time_limit,
        "keep_weights": keep_weights,
        "keep_memory": keep_memory,
    }
    results = _run(study, out, missing, store=store, **asked, **placing)
    show(results, out / "report.html", as_json=as_json)
    if keep_weights:
        say(_weights(results, out))
    if any(trial.status == "failed" for trial in results.record.trials):
        say("some trials failed (see the report); `--retry-failed` runs them again")
        raise typer.Exit(1)


def _study(path: Path | None, flags: dict[str, Any], settings: list[str]) -> Study:
    from slopewise.study import Study, override, parse_spec, read_spec, toml_value

    fields = read_spec(path) if path else {}
    for key, value in flags.items():
        if value is not None:
            fields = override(fields, key, value)
    for key, text in _pairs(settings, "--set", example="train.lr=0.02"):
        fields = override(fields, key, toml_value(text, f"--set {shortened(key, 60)}"))
    return Study(parse_spec(fields))


def _pairs(settings: list[str], flag: str, *, example: str) -> Iterator[tuple[str, str]]:
    """Yield keys and values of a repeatable flag."""
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            raise SpecError(f"{flag} {shortened(setting, 60)}: write KEY=VALUE, as in {flag} {example}")
        yield key.strip(), text.strip()


def _options(pairs: list[str], address: str | None) -> dict[str, str]:
    """Return the options of the engine, of which the address has a flag of its own."""
    options = dict(_pairs(pairs, "--engine-option", example="workers=2"))
    return options if address is None else {**options, "address": address}


def _run(study: Study, out: Path, missing: tuple[Any, ...], **options: Any) -> Results:
    from slopewise.report import StudyProgress
    from slopewise.study import Terminated

    begun = False

    def follow(event: Event) -> None:
        nonlocal begun
        begun = True
        progress(event)

    try:
        # Output of a user's model goes to stderr with the log: stdout is for results.
        with StudyProgress(missing, Console(stderr=True), folder=out) as progress, redirect_stdout(sys.stderr):
            results = study.run(out, on_event=follow, **options)
    except (KeyboardInterrupt, Terminated) as signalled:
        word, code = ("terminated", signalled.status) if isinstance(signalled, Terminated) else ("interrupted", 130)
        say(f"{word}: {_ended(out, len(study.plan()))} are kept in {out}; the same command goes on from there")
        raise typer.Exit(code) from None
    if not begun:
        say(
            f"all trials in {out} had ended before: nothing was trained, and the data were not read, so that changes "
            "in them since are not noticed (for other data, give another --out)"
        )
    return results


def _weights(results: Results, out: Path) -> str:
    """Return a line that says which weights were kept."""
    from slopewise.study import kept_weights

    trained = [t for t in results.record.every_trial if t.status == "finished" and not t.diverged]
    kept = len(kept_weights(out, results.record))
    if kept == len(trained):
        return f"weights: {out / 'weights'}, a file for each trial that trained ({kept})"
    others = "the others ended before --keep-weights was given, or elsewhere"
    return f"weights: {out / 'weights'}, files for {kept} of the {len(trained)} trials that trained; {others}"


def _ended(out: Path, planned: int) -> str:
    """Return the number of trials that a folder holds, in words, without waiting for a lock."""
    from slopewise.study import holds_study, read_counts

    try:
        return f"{read_counts(out).ended if holds_study(out) else 0} of {planned} trials"
    except StoreError:
        return "trials that have ended"


def _print_plan(
    plan: tuple[TrialKey, ...], study: Study, missing: tuple[Any, ...], *, as_json: bool, verbose: bool
) -> None:
    """Print the trials of a plan: one by one, or their numbers by arm."""
    from slopewise.drawing import count

    todo = set(missing)
    if as_json:
        trials = [{"arm": t.arm, "seed": t.seed, "cell": t.cell, "missing": t in todo} for t in plan]
        print_json({"spec": study.spec.plain(), "trials": trials})
        return
    if not verbose:
        planned, to_run = Counter(trial.arm for trial in plan), Counter(trial.arm for trial in missing)
        for arm, number in planned.items():
            echo(f"{arm}: {to_run[arm]} of {count(number, 'trial')} to run")
    for trial in plan if verbose else ():
        cell = f"  {trial.cell}" if trial.cell else ""
        echo(f"{'run ' if trial in todo else 'done'}  {trial.arm}  seed {trial.seed}{cell}")
    most = "at most " if study.spec.until_decided else ""
    echo(f"{most}{len(missing)} of {len(plan)} trials to run")
