"""Summary of a study on a terminal: the table, a sentence for each arm, and notes on step times and alarms.

Colour only repeats the words of a verdict, so that pipes and NO_COLOR lose nothing. All text of users goes through
`words`.
"""

from __future__ import annotations

import io

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from slopewise.analysis import Contrast, sentence, verdict_words
from slopewise.drawing import count, interval, listing, number, plain, signed, spread
from slopewise.records import StudyRecord, amount
from slopewise.report.study.info._looks import decided_words
from slopewise.report.study.info._study import StudyInfo, missing_words, pairs_words, study_info
from slopewise.support.terminal import words

_WIDE = 104  # columns from which on a row needs one line only
_STYLES = {"helps": "green", "hurts": "red", "no practical effect": "cyan", "inconclusive": "yellow"}


def print_summary(study: StudyRecord, console: Console) -> None:
    """Print the table of a study, a sentence for each contrast, and notes on step times and alarms.

    Args:
        study: Records so far; missing trials are counted.
        console: Console to print on. A row takes one line from 104 columns on, two lines below that.
    """
    info = study_info(study)
    most = "at most " if study.looks else ""
    runs = f"{most}{count(len(study.seeds), 'seed')}" if study.paired else count(info.planned, "run")
    size = f": {count(len(study.arms), 'arm')}, {runs}"
    rule = f", control {study.control}, margin {amount(study.margin, study.primary.unit)}{_origin_of_margin(study)}"
    console.print(words((info.title, "bold"), size, rule))
    for note in _notes(info):
        console.print(words(note, style="bold red"))
    console.print()
    console.print(_table(info, "\n" if console.width < _WIDE else " "))
    console.print()
    sentences = Table.grid(padding=(0, 1, 0, 0))
    for contrast in info.analysis.primary:
        sentences.add_row("-", words(sentence(contrast)))
    for note in filter(None, (info.schedule, *info.repeats, *info.operators, *info.alarm_notes)):
        sentences.add_row("-", words(note))
    console.print(sentences)


def _origin_of_margin(study: StudyRecord) -> str:
    return {True: " (chosen)", False: " (default)", None: ""}[study.margin_chosen]


def summary_text(study: StudyRecord, width: int = 100) -> str:
    """Return the summary of `print_summary` as plain text.

    Example:
        >>> from slopewise.testing import synthetic_study
        >>> print(summary_text(synthetic_study(("relu", "elu"), seeds=3)).splitlines()[0])
        Activation study: 2 arms, 3 seeds, control relu, margin 0.5 points
    """
    stream = io.StringIO()
    print_summary(study, Console(file=stream, width=width, color_system=None))
    return stream.getvalue().rstrip("\n")


def _notes(info: StudyInfo) -> list[str]:
    """Return what limits the results: damage, missing, diverged and failed trials, cautions, broken pairing."""
    analysis, ended = info.analysis, len(info.study.trials)
    notes = [info.damage] if info.damage else []
    if ended < info.planned:
        lacking = f" Missing: {missing_words(info.missing)}." if ended else ""
        there = "trials have ended" if info.study.tested else "runs are in the table"
        most = "at most " if info.most else ""
        notes.append(f"Not complete: {ended} of {most}{info.planned} {there}.{lacking}")
    if diverged := [f"{a.arm} in {a.diverged} of {count(a.finished, 'seed')}" for a in analysis.arms if a.diverged]:
        notes.append(f"Training diverged: {listing(diverged)}.")
    if failed := [f"{trial.arm} seed {info.study.seed_name(trial.seed)}" for trial in info.failed]:
        notes.append(
            f"{'Failed, without a result' if info.study.tested else 'Without a value, left out'}: {listing(failed)}."
        )
    notes += [f"Caution: {caution.text}." for caution in analysis.cautions]
    if analysis.pairing.broken:
        notes.append(
            f"The pairing is broken in seeds {listing(analysis.pairing.broken)}: arms that did not start as the "
            "control did are compared with it as unpaired runs."
        )
    if analysis.pairing.apart:
        notes.append(
            f"In seeds {listing(analysis.pairing.apart)} the arms ran in different environments: step times of such "
            "pairs are not compared."
        )
    return notes


def _table(info: StudyInfo, join: str) -> Table:
    """Return the table, one row per arm; `join` is a line break if the two parts of a cell do not fit on one line."""
    metric = info.analysis.metric
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("arm", overflow="fold")
    for name in (f"{metric.title}, {metric.value_unit}", "difference, [95 %]"):
        table.add_column(name.replace(", ", join), justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    last = {"trouble": "diverged", "time": f"step{join}time", "slopes": f"final{join}slopes"}
    counted = info.study.tested or info.diverged
    shown = [section for section in last if section in info.sections and (counted or section != "trouble")]
    for section in shown:
        table.add_column(last[section], justify="right", no_wrap=True)
    for row in info.rows:
        arm, contrast, converged = row.arm, row.contrast, row.converged
        medians = [layer.median for layer in arm.slopes]
        cells = {
            "trouble": f"{arm.diverged} of {arm.finished}",
            "time": "" if arm.cost_ratio is None else f"{arm.cost_ratio:.2f}×",
            "slopes": plain(f"{number(min(medians), 2)}{join}to {number(max(medians), 2)}") if medians else "",
        }
        table.add_row(
            words(arm.arm, *((Text(f"{join}against "), row.against) if row.against else ())),
            plain(spread(arm.score_mean, arm.score_sd, metric.digits).replace(" ±", f"{join}±")),
            _difference(contrast, join) if contrast else "",
            _verdict(contrast, join, decided_words(contrast) if contrast.looks else "") if contrast else "control",
            *(cells[section] for section in shown),
        )
        if converged:
            table.add_row(
                "  converged",
                plain(number(arm.converged_score_mean, metric.digits)),
                _difference(converged, join),
                _verdict(converged, join) if converged.seeds else "",
                *((pairs_words(converged),) if "trouble" in shown else ()),
                style="dim",
            )
    return table


def _verdict(contrast: Contrast, join: str, at: str = "") -> Text:
    shown = f"{verdict_words(contrast)}{' *' if contrast.cautions else ''}" if contrast.seeds else "no result yet"
    style = _STYLES["no practical effect" if contrast.negligible else contrast.verdict]
    shown = shown.replace("practical ", f"practical{join}").replace(", ", f",{join}")
    return Text(f"{shown}{',' if join == ' ' else ''}{join}{at}" if at else shown, style=style)


def _difference(contrast: Contrast, join: str) -> str:
    if contrast.difference is None:
        return "-"
    ends = f"{join}{interval(contrast.interval, contrast.digits)}" if contrast.interval else ""
    return plain(f"{signed(contrast.difference, contrast.digits)}{ends}")
