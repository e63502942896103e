"""Cells of the heat maps of a watched run: values, and what they mean in words."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from slopewise.drawing import NOTHING, Cell, compact, count, listing, number
from slopewise.recording import Sample, SiteSample, SlopeSummary

Cells = Callable[[Sample], Iterable[Cell]]
Units = Callable[[SiteSample], tuple[int, ...] | None]


def dead(site: SiteSample) -> tuple[int, ...] | None:
    """Return the dead units of a call site; None if no gradient was measured there."""
    return None if site.zero_gradient is None else site.dead


def units(of: Units, words: str) -> Cells:
    """Return the cells of a share of each site's units; blank if it was not measured.

    Args:
        of: Function that returns the units of a site that count; None if that was not measured.
        words: End of the sentence in the hover label, as in "dead".
    """

    def each(sample: Sample) -> Iterator[Cell]:
        for site in sample.sites:
            members = of(site)
            if site.not_finite:
                text = f"{len(site.not_finite)} of {count(site.units, 'unit')} NaN or infinite"
                yield Cell(site.site, math.nan, "not finite", text)
            elif members is None:
                yield Cell(site.site, None, NOTHING, "")
            else:
                share = len(members) / site.units if site.units else 0.0
                some = f"{len(members)} of {count(site.units, 'unit')}"
                yield Cell(site.site, share, f"{number(100 * share, 0)} %", f"{some} {words}")

    return each


def pass_through(sample: Sample) -> Iterator[Cell]:
    """Yield the pass-through of each site."""
    for site in sample.sites:
        yield _cell(site.site, site.pass_through, "pass-through")


def median_slopes(sample: Sample) -> Iterator[Cell]:
    """Yield the median of each layer's slopes, with quartiles and bands in words."""
    for layer in sample.slopes:
        summary = layer.summary
        text = number(summary.median, 3) if summary.finite else "not finite"
        yield Cell(layer.layer, summary.median if summary.finite == summary.count else math.nan, text, _bands(summary))


def _bands(summary: SlopeSummary) -> str:
    """Return the slopes of a layer in words: median, middle half, ends, and the numbers of slopes in alarming bands."""
    parts = []
    if summary.finite == 1:
        parts.append(f"slope {number(summary.median, 3)}")
    elif summary.finite:
        ends = (summary.lower_quartile, summary.upper_quartile, summary.minimum, summary.maximum)
        lower, upper, low, high = (number(end, 3) for end in ends)
        parts.append(f"median {number(summary.median, 3)}<br>middle half {lower} to {upper}<br>all {low} to {high}")
    not_finite = summary.count - summary.finite
    bands = {
        "not finite": not_finite,
        "negative": summary.negative,
        "near 0": summary.near_0,
        "near 1": summary.near_1,
        "above 1": summary.above_1,
    }
    if some := [f"{slopes} {words}" for words, slopes in bands.items() if slopes]:
        parts.append(f"of {count(summary.count, 'slope')}: {listing(some)}")
    return "<br>".join(parts)


def slope_field(field: str, words: str) -> Cells:
    """Return the cells of one field of each layer's slopes."""

    def each(sample: Sample) -> Iterator[Cell]:
        for layer in sample.slopes:
            not_finite = layer.summary.finite < layer.summary.count
            yield _cell(layer.layer, getattr(layer, field), words, not_finite=not_finite)

    return each


def gradients(sample: Sample) -> Iterator[Cell]:
    """Yield gradient norms over the largest norm of the step, so that changes common to all layers cancel."""
    largest = max((g for layer in sample.layers if (g := layer.gradient) is not None and math.isfinite(g)), default=0.0)
    for layer in sample.layers:
        cell = _cell(layer.layer, layer.gradient, "gradient norm", not_finite="gradient" in layer.not_finite)
        yield replace(cell, value=cell.value / largest) if cell.value and largest else cell


def updates(sample: Sample) -> Iterator[Cell]:
    """Yield the update ratio of each layer."""
    for layer in sample.layers:
        yield _cell(layer.layer, layer.update_ratio, "update ratio", not_finite="weight" in layer.not_finite)


def _cell(row: str, value: float | None, words: str, *, not_finite: bool = False) -> Cell:
    """Return a cell; with `not_finite`, a missing value is NaN, which the file of a recording cannot hold."""
    value = math.nan if not_finite and value is None else value
    text = compact(value)
    return Cell(row, value, text, f"{words} {text}")
