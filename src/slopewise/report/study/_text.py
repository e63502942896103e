"""Summary of a study on a terminal: the table, a sentence for each arm, and notes on step times and alarms.

Colour only repeats the words of a verdict, so that pipes and NO_COLOR lose nothing. All text of users goes through
`words`.
"""

from __future__ import annotations

import io
from collections.abc import Iterator

from rich import box
from rich.console import Console, JustifyMethod
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from slopewise.analysis import Contrast, sentence, verdict_words
from slopewise.drawing import count, interval, listing, number, plain, signed, spread
from slopewise.records import StudyRecord, amount
from slopewise.report.study.info._looks import decided_words
from slopewise.report.study.info._study import StudyInfo, missing_words, pairs_words, study_info
from slopewise.support.terminal import words

_WIDE = 104  # columns from which on a row needs one line only
_ARM = 13  # columns that the table has for the names of arms at least, as in prelu_channel; longer names are folded
_UNLIMITED = 100_000  # columns
_STYLES = {"helps": "green", "hurts": "red", "no practical effect": "cyan", "inconclusive": "yellow"}


def print_summary(study: StudyRecord, console: Console) -> None:
    """Print the table of a study, a sentence for each contrast, and notes on step times and alarms.

    Args:
        study: Records so far; missing trials are counted.
        console: Console to print on. A row takes one line from 104 columns on, two lines below that, and a line for
            each of its cells where the table does not fit.
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
    console.print(_table(info, console))
    if any(contrast.cautions for contrast in (*info.analysis.primary, *info.analysis.converged)):
        console.print(words(("* a verdict with a caution; the sentences below name it", "dim")))
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


def _table(info: StudyInfo, console: Console) -> Table:
    """Return the table, one row per arm; where it does not fit, the cells of each arm stand below the arm's name."""
    join = "\n" if console.width < _WIDE else " "
    longest = max(len(words(row.arm.arm)) for row in info.rows)
    for gap in (1, 0):
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, gap, 0, 0))
        for title in _titles(info):
            side: JustifyMethod = "left" if title in ("arm", "verdict") else "right"
            table.add_column(title.replace(", ", join), justify=side, no_wrap=title != "arm", overflow="fold")
        for cells, style in _rows(info, join):
            table.add_row(*cells, style=style)
        width = Measurement.get(console, console.options.update(max_width=_UNLIMITED), table).maximum
        if width - max(0, longest - _ARM) <= console.width:
            return table
    return _blocks(info)


def _blocks(info: StudyInfo) -> Table:
    """Return the rows of the table as blocks: the name of the arm, and a line for each cell."""
    blocks = Table.grid()
    for (arm, *cells), style in _rows(info, " "):
        figures = Table.grid(padding=(0, 1, 0, 0))
        figures.add_column(width=1)
        figures.add_column(overflow="fold")
        for title, cell in zip(_titles(info)[1:], cells, strict=False):
            if len(cell):
                figures.add_row("", title.replace(", ", " "), cell)
        blocks.add_row(arm, style=style)
        blocks.add_row(figures, style=style)
    return blocks


def _titles(info: StudyInfo) -> list[str]:
    metric = info.analysis.metric
    last = {"trouble": "diverged", "time": "step, time", "slopes": "final, slopes"}
    return [
        "arm",
        f"{metric.title}, {metric.value_unit}",
        "difference, [95 %]",
        "verdict",
        *(last[section] for section in _sections(info)),
    ]


def _sections(info: StudyInfo) -> list[str]:
    """Return the sections of the page that have a column here, too."""
    counted = info.study.tested or info.diverged
    return [
        section
        for section in ("trouble", "time", "slopes")
        if section in info.sections and (counted or section != "trouble")
    ]


def _rows(info: StudyInfo, join: str) -> Iterator[tuple[tuple[str | Text, ...], str]]:
    """Yield the cells of each row, and its style; `join` is a line break if a cell's two parts do not fit on a line."""
    shown, digits = _sections(info), info.analysis.metric.digits
    for row in info.rows:
        arm, contrast, converged = row.arm, row.contrast, row.converged
        medians = [layer.median for layer in arm.slopes]
        last = {
            "trouble": f"{arm.diverged} of {arm.finished}",
            "time": "" if arm.cost_ratio is None else f"{arm.cost_ratio:.2f}×",
            "slopes": plain(f"{number(min(medians), 2)}{join}to {number(max(medians), 2)}") if medians else "",
        }
        cells = (
            words(arm.arm, *((Text(f"{join}against "), row.against) if row.against else ())),
            plain(spread(arm.score_mean, arm.score_sd, digits).replace(" ±", f"{join}±")),
            _difference(contrast, join) if contrast else "",
            _verdict(contrast, join, decided_words(contrast) if contrast.looks else "") if contrast else "control",
            *(last[section] for section in shown),
        )
        yield cells, ""
        if converged:
            cells = (
                "  converged",
                plain(number(arm.converged_score_mean, digits)),
                _difference(converged, join),
                _verdict(converged, join) if converged.seeds else "",
                *((pairs_words(converged),) if "trouble" in shown else ()),
            )
            yield cells, "dim"


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
