"""A study on a terminal: the table, one sentence per arm, and a note on the step times.

Words carry the verdicts and colour only repeats them, so that pipes and NO_COLOR lose nothing. All text of users goes
through `words`.
"""

from __future__ import annotations

import io

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from slopewise.analysis import Analysis, Contrast, analyse, sentence, verdict_words
from slopewise.drawing import count, interval, listing, number, plain, signed, spread
from slopewise.records import StudyRecord
from slopewise.report.study._alarms import alarm_notes
from slopewise.report.study._operators import operator_notes
from slopewise.report.study._status import damage_note
from slopewise.support.terminal import words

_WIDE = 104  # columns from which a row needs one line only
_STYLES = {"helps": "green", "hurts": "red", "no practical effect": "cyan", "inconclusive": "yellow"}


def print_summary(study: StudyRecord, console: Console) -> None:
    """Print the study's table, what each arm's contrast says, what the step times ran on, and alarms.

    Args:
        study: the records so far; what is missing is said, not left out.
        console: where to; from 104 columns on a row takes one line, below that two.
    """
    analysis = analyse(study)
    title = study.spec.get("name") or "Activation study"
    size = f": {count(len(study.arms), 'arm')}, {count(len(study.seeds), 'seed')}"
    rule = f", control {study.control}, margin {study.margin:g} {study.primary.unit}"
    console.print(words((str(title), "bold"), size, rule))
    for note in _notes(study, analysis):
        console.print(words(note, style="bold red"))
    console.print()
    console.print(_table(analysis, "\n" if console.width < _WIDE else " "))
    console.print()
    says = Table.grid(padding=(0, 1, 0, 0))
    for contrast in analysis.primary:
        says.add_row("-", words(sentence(contrast)))
    for note in (
        *operator_notes(analysis),
        *alarm_notes(analysis.alarms, {arm.arm: arm.finished for arm in analysis.arms}),
    ):
        says.add_row("-", words(note))
    console.print(says)


def summary_text(study: StudyRecord, width: int = 100) -> str:
    """The same as plain text.

    Example:
        >>> from slopewise.testing import synthetic_study
        >>> print(summary_text(synthetic_study(("relu", "elu"), seeds=3)).splitlines()[0])
        Activation study: 2 arms, 3 seeds, control relu, margin 0.5 points
    """
    stream = io.StringIO()
    print_summary(study, Console(file=stream, width=width, color_system=None))
    return stream.getvalue().rstrip("\n")


def _notes(study: StudyRecord, analysis: Analysis) -> list[str]:
    planned = len(study.arms) * len(study.seeds)
    failed = [f"{trial.arm} seed {trial.seed}" for trial in study.trials if trial.status == "failed"]
    notes = [damage_note(study.damaged)] if study.damaged else []
    if len(study.trials) < planned:
        notes.append(f"Not complete: {len(study.trials)} of {planned} trials have ended.")
    if lost := [f"{a.arm} in {a.diverged} of {count(a.finished, 'seed')}" for a in analysis.arms if a.diverged]:
        notes.append(f"Training diverged: {listing(lost)}.")
    if failed:
        notes.append(f"Failed, without a result: {listing(failed)}.")
    notes += [f"Caution: {caution.text}." for caution in analysis.cautions]
    if analysis.pairing.broken:
        notes.append(
            f"The pairing is broken in seeds {listing(analysis.pairing.broken)}: do not trust their differences."
        )
    if analysis.pairing.apart:
        notes.append(
            f"In seeds {listing(analysis.pairing.apart)} the arms ran in different environments: step times of such "
            "pairs are not compared."
        )
    return notes


def _table(analysis: Analysis, join: str) -> Table:
    """One row per arm; `join` is a line break where a cell's parts must stand under each other."""
    primary = {contrast.arm: contrast for contrast in analysis.primary}
    converged = {contrast.arm: contrast for contrast in analysis.converged}
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("arm", overflow="fold")
    for name in (f"{analysis.metric.title}, {analysis.metric.value_unit}", "difference, [95 %]"):
        table.add_column(name.replace(", ", join), justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for name in ("diverged", f"step{join}time", f"final{join}slopes"):
        table.add_column(name, justify="right", no_wrap=True)
    for arm in analysis.arms:
        contrast, kept = primary.get(arm.arm), converged.get(arm.arm)
        medians = [layer.median for layer in arm.slopes]
        table.add_row(
            words(arm.arm),
            plain(spread(arm.score_mean, arm.score_sd, analysis.metric.digits).replace(" ±", f"{join}±")),
            _difference(contrast, join) if contrast else "",
            _verdict(contrast, join) if contrast else "control",
            f"{arm.diverged} of {arm.finished}",
            "" if arm.cost_ratio is None else f"{arm.cost_ratio:.2f}×",
            plain(f"{number(min(medians), 2)}{join}to {number(max(medians), 2)}") if medians else "",
        )
        if contrast and kept and len(kept.seeds) < len(contrast.seeds):
            table.add_row(
                "  converged",
                plain(number(arm.converged_score_mean, analysis.metric.digits)),
                _difference(kept, join),
                _verdict(kept, join) if kept.seeds else "",
                count(len(kept.seeds), "pair"),
                style="dim",
            )
    return table


def _verdict(contrast: Contrast, join: str) -> Text:
    shown = f"{verdict_words(contrast)}{' *' if contrast.cautions else ''}" if contrast.seeds else "no result yet"
    style = _STYLES["no practical effect" if contrast.negligible else contrast.verdict]
    return Text(shown.replace("practical ", f"practical{join}").replace(", ", f",{join}"), style=style)


def _difference(contrast: Contrast, join: str) -> str:
    if contrast.difference is None:
        return "-"
    ends = f"{join}{interval(contrast.interval, contrast.digits)}" if contrast.interval else ""
    return plain(f"{signed(contrast.difference, contrast.digits)}{ends}")
