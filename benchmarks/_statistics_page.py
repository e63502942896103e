"""docs/statistics.md and the table in README, written from the results of benchmarks/coverage.py.

Their sentences take every figure from docs/data/coverage.json, so that text and measurement cannot part: a test writes
both again and compares.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from textwrap import TextWrapper
from typing import Any

from _harness import machine
from _shapes import SHAPES
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from scipy.stats import binomtest

from slopewise.analysis import level_shares
from slopewise.analysis._verdict import reaches

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "data" / "coverage.json"
CALIBRATION = ROOT / "docs" / "data" / "calibration.json"  # written by benchmarks/calibration.py
_README = ("<!-- benchmarks/coverage.py writes this table -->\n", "<!-- end of the table -->\n")
_KEPT = set("|#-\n")  # first characters of tables, headings and lists, which are not filled
_FILL = TextWrapper(120, break_long_words=False, break_on_hyphens=False)
_DIGITS = 5  # of rates: ten thousand studies tell no more


def write_results(results: dict[str, Any], path: Path) -> None:
    """Write results as JSON, a row a line, beside what they were computed with."""
    path.parent.mkdir(parents=True, exist_ok=True)
    facts = {key: machine()[key] for key in ("slopewise", "python", "numpy")}
    parts = [f'"settings": {json.dumps({**results["settings"], **facts})}']
    for name in ("intervals", "verdicts", "runs_intervals", "runs_verdicts", "look_intervals", "adaptive"):
        rows = ",\n".join(json.dumps(_rounded(row)) for row in results[name])
        parts.append(f'"{name}": [\n{rows}\n]')
    path.write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")
    print(f"written to {path}")


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return round(value, _DIGITS) if isinstance(value, float) else value


def write_pages() -> None:
    """Write docs/statistics.md, and the table in README."""
    for path, text in pages(json.loads(RESULTS.read_text(encoding="utf-8"))).items():
        path.write_text(text, encoding="utf-8")
        print(f"written to {path}")


def pages(results: dict[str, Any]) -> dict[Path, str]:
    """Return the text of each page with the figures of these results."""
    environment = Environment(
        loader=FileSystemLoader(ROOT / "benchmarks" / "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - Markdown from our own figures
    )
    names = _figures(results) | _of_trainings(json.loads(CALIBRATION.read_text(encoding="utf-8")))
    readme = ROOT / "README.md"
    before, begin, rest = readme.read_text(encoding="utf-8").partition(_README[0])
    _, end, after = rest.partition(_README[1])
    table = environment.get_template("readme.md.j2").render(names)
    return {
        ROOT / "docs" / "statistics.md": _tidy(environment.get_template("statistics.md.j2").render(names)),
        readme: before + begin + _tidy(table) + end + after,
    }


def _tidy(text: str) -> str:
    """Return the text with paragraphs filled anew around their figures, and no spaces behind the last cell of a row."""
    lines = "\n".join(line.rstrip() for line in text.split("\n"))
    return "\n\n".join(block if block[:1] in _KEPT else _FILL.fill(block) for block in lines.split("\n\n"))


def _of_trainings(real: dict[str, Any]) -> dict[str, Any]:
    """Return the names that the section about real trainings uses."""

    def share(part: str, events: str, total: str) -> str:
        """Return a rate with Clopper and Pearson's 95 % interval."""
        k, n = real[part][events], real[part][total]
        interval = binomtest(k, n).proportion_ci(0.95, "exact")
        return (
            f"{k} of {n} {total} ({100 * k / n:.1f} %, 95 % interval {100 * interval.low:.1f} to "
            f"{100 * interval.high:.1f})"
        )

    return {"real": real, "share": share, "slow": real["a twentieth of the learning rate"]}


def _figures(results: dict[str, Any]) -> dict[str, Any]:
    """Return what the templates look figures up with. All of it is text, in percent."""
    intervals = {(row["shape"], row["seeds"]): row for row in results["intervals"]}
    verdicts = {(row["shape"], row["arms"], row["seeds"], row["shift"]): row for row in results["verdicts"]}
    margin = results["settings"]["margin"]

    def cover(shape: str, seeds: int, candidate: str) -> str:
        cell = intervals[shape, seeds][candidate]
        return "unbounded" if cell["median_width"] is None else f"{100 * cell['coverage']:.1f}"

    def rate(shape: str, seeds: int, shift: float, verdict: str, arms: int = 4) -> str:
        return f"{100 * verdicts[shape, arms, seeds, shift][verdict]:.1f}"

    def truth(shape: str, shift: float) -> str:
        return f"{SHAPES[shape].truth(shift):+.2f}"

    def worst(verdict: str, *groups: str) -> str:
        """Return the largest rate of a false verdict."""
        return f"{100 * max(row[verdict] for row in _false(verdict, *groups)):.1f}"

    def _false(verdict: str, *groups: str) -> list[dict[str, Any]]:
        wrong: dict[str, Callable[[float], bool]] = {
            "helps": lambda true: true <= 1e-9,
            "hurts": lambda true: true >= -1e-9,
            "no practical effect": lambda true: bool(reaches(true, margin)),
        }
        return [r for r in results["verdicts"] if SHAPES[r["shape"]].group in groups and wrong[verdict](r["truth"])]

    def least_cover(candidate: str, *groups: str, seeds: int) -> str:
        shapes = [name for name, shape in SHAPES.items() if shape.group in groups]
        return f"{100 * min(intervals[name, seeds][candidate]['coverage'] for name in shapes):.1f}"

    runs_intervals = {(row["shape"], row["runs"], row["control_runs"]): row for row in results["runs_intervals"]}
    runs_verdicts = {
        (row["shape"], row["arms"], row["runs"], row["control_runs"], row["shift"]): row
        for row in results["runs_verdicts"]
    }
    designs = list(dict.fromkeys(key[1:4] for key in runs_verdicts))

    def runs_cover(shape: str, design: tuple[int, int, int], candidate: str) -> str:
        return f"{100 * runs_intervals[shape, *design[1:]][candidate]['coverage']:.1f}"

    def runs_rate(shape: str, design: tuple[int, int, int], shift: float, verdict: str) -> str:
        return f"{100 * runs_verdicts[shape, *design, shift][verdict]:.1f}"

    def runs_least(candidate: str, design: tuple[int, int, int], *groups: str) -> str:
        shapes = [name for name in dict.fromkeys(key[0] for key in runs_intervals) if SHAPES[name].group in groups]
        return f"{100 * min(runs_intervals[name, *design[1:]][candidate]['coverage'] for name in shapes):.1f}"

    alike = [name for name, shape in SHAPES.items() if shape.exchangeable]
    adaptive = {(row["shape"], row["shift"], row["margin"]): row for row in results["adaptive"]}
    looks, chosen = results["settings"]["looks"], results["settings"]["chosen"]
    shares = ", ".join(f"{share:.3g}" for share in level_shares(looks))
    most = looks[-1]

    def look_rate(shape: str, shift: float, word: str, design: str = "adaptive", own: float = margin) -> str:
        return f"{100 * adaptive[shape, shift, own][design][word]:.1f}"

    def look_seeds(shape: str, shift: float, *, share: bool = False) -> str:
        seeds = adaptive[shape, shift, margin]["adaptive"]["seeds"]
        return f"{seeds / most:.2f}" if share else f"{seeds:.1f}"

    def look_worst(
        word: str, names: list[str], shifts: list[float], design: str = "adaptive", own: float = margin
    ) -> str:
        rates = [adaptive[shape, shift, own][design][word] for shape in names for shift in shifts]
        return f"{100 * max(rates):.1f}"

    runs_aa = [row for row in results["runs_verdicts"] if row["shape"] in alike and not row["shift"]]
    aa = [row for row in results["verdicts"] if row["shape"] in alike and not row["shift"]]
    return {
        "settings": results["settings"] | {"look_shares": shares},
        "candidates": [name for name in results["intervals"][0] if name not in ("shape", "seeds")],
        "shapes": {group: [n for n, s in SHAPES.items() if s.group == group] for group in _groups()},
        "exchangeable": alike,
        "seeds": sorted({row["seeds"] for row in results["intervals"]}),
        "shifts": sorted({row["shift"] for row in results["verdicts"]}),
        "cover": cover,
        "rate": rate,
        "truth": truth,
        "worst": worst,
        "least_cover": least_cover,
        "runs_cover": runs_cover,
        "runs_rate": runs_rate,
        "runs_least": runs_least,
        "runs_candidates": [name for name, cell in results["runs_intervals"][0].items() if isinstance(cell, dict)],
        "designs": designs,
        "runs_shapes": list(dict.fromkeys(row["shape"] for row in results["runs_intervals"])),
        "look_cover": {row["shape"]: f"{100 * row[chosen]:.1f}" for row in results["look_intervals"]},
        "look_least_t": f"{100 * min(row['t'] for row in results['look_intervals']):.1f}",
        "look_least": f"{100 * min(row[chosen] for row in results['look_intervals']):.1f}",
        "look_rate": look_rate,
        "look_seeds": look_seeds,
        "look_worst": look_worst,
        "look_shapes": list(dict.fromkeys(row["shape"] for row in results["adaptive"])),
        "look_power_shapes": list(dict.fromkeys(row["shape"] for row in results["adaptive"] if row["shift"])),
        "look_alike": [shape for shape, shift, own in adaptive if shape in alike and not shift and own == margin],
        "look_lopsided": [name for name in SHAPES if SHAPES[name].group == "lopsided"],
        "look_power_alike": [shape for shape, shift, _ in adaptive if shape in alike and shift == margin],
        "look_power_lopsided": [s for s, shift, _ in adaptive if SHAPES[s].group == "lopsided" and shift == margin],
        "look_tiny": min(row["margin"] for row in results["adaptive"]),
        "look_shifts": sorted({row["shift"] for row in results["adaptive"]}),
        "runs_worst_any": f"{100 * max(row['any'] for row in runs_aa):.1f}",
        "worst_any": f"{100 * max(row['any'] for row in aa):.1f}",
        "width": lambda shape, seeds, candidate: f"{intervals[shape, seeds][candidate]['median_width']:.2f}",
    }


def _groups() -> list[str]:
    return list(dict.fromkeys(shape.group for shape in SHAPES.values()))
