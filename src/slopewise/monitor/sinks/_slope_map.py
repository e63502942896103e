"""Slopes of a run as one picture: a row per layer in the model's order, a column per sampled step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from slopewise.recording import Sample
from slopewise.slopes import NEAR_0, NEAR_1
from slopewise.support import need

if TYPE_CHECKING:
    from PIL.Image import Image

# Grey where slopes usually are, so that colour alone says where to look. NaN has a colour that is not on the scale.
_STOPS = (
    (-1.0, (8, 71, 138)),
    (-NEAR_0 - 1e-6, (125, 184, 227)),
    (-NEAR_0, (241, 243, 245)),
    (1 + NEAR_1, (115, 125, 137)),
    (1 + NEAR_1 + 1e-6, (240, 140, 60)),
    (2.0, (143, 29, 12)),
)
_TICKS = ((-1.0, "-1"), (0.0, "0 (ReLU)"), (1.0, "1 (linear)"), (2.0, "2"))
_LOST, _GAP = (196, 20, 155), (255, 255, 255)
_WIDTH, _RIGHT, _TOP, _BOTTOM = 640, 40, 30, 80
_FONT, _BOLD = 13, 15
_LABEL = 50  # characters of a layer's name; the end tells layers apart
_INK = (26, 30, 36)


class SlopeMap:
    """Collector of samples that says when another picture is due: after 10 of them, 20, 40, ..."""

    def __init__(self) -> None:
        self._steps: list[int] = []
        self._medians: list[dict[str, float]] = []
        self._due = 10

    def add(self, sample: Sample) -> bool:
        """Add a sample, and return True if a picture is due."""
        if sample.slopes:
            self._steps.append(sample.step)
            self._medians.append({each.layer: each.summary.median for each in sample.slopes})
        if len(self._steps) < self._due:
            return False
        self._due *= 2
        return True

    def picture(self) -> Image | None:
        """Return the picture of all samples so far; None if no slope was seen."""
        rows = list(dict.fromkeys(layer for medians in self._medians for layer in medians))
        return draw(self._steps, rows, [[each.get(row) for each in self._medians] for row in rows]) if rows else None


def draw(steps: Sequence[int], rows: Sequence[str], values: Sequence[Sequence[float | None]]) -> Image:
    """Return the picture; its size depends on the rows alone, not on the number of steps.

    Args:
        steps: Steps of the columns.
        rows: Names of layers.
        values: Rows of values, one for each layer; None leaves a gap.
    """
    need("PIL.Image", what="a picture of slopes", extra="trackers")
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(_FONT)
    names = [row if len(row) <= _LABEL else f"…{row[1 - _LABEL :]}" for row in rows]
    left = max(100, *(round(font.getlength(name)) + 16 for name in names))
    height = max(16, min(30, 300 // len(rows)))
    bottom = _TOP + height * len(rows)
    picture = Image.new("RGB", (left + _WIDTH + _RIGHT, bottom + _BOTTOM), _GAP)
    pen = ImageDraw.Draw(picture)
    pen.text((left, _TOP - 8), "slopes: median of each layer", _INK, ImageFont.load_default(_BOLD), anchor="ls")

    cells = Image.new("RGB", (len(steps), len(rows)))
    cells.putdata([colour(value) for row in values for value in row])
    picture.paste(cells.resize((_WIDTH, height * len(rows)), Image.Resampling.NEAREST), (left, _TOP))
    for index, name in enumerate(names):
        pen.text((left - 8, _TOP + height * (index + 0.5)), name or "model", _INK, font, anchor="rm")

    for tick in range(ticks := min(5, len(steps))):
        column = round(tick * (len(steps) - 1) / max(ticks - 1, 1))
        x = left + (column + 0.5) * _WIDTH / len(steps)
        pen.line((x, bottom, x, bottom + 4), _INK)
        pen.text((x, bottom + 6), f"step {steps[column]}" if not tick else str(steps[column]), _INK, font, anchor="ma")

    low, high = _STOPS[0][0], _STOPS[-1][0]
    scale, bar = _WIDTH / (high - low), bottom + 38
    for x in range(_WIDTH):
        pen.line((left + x, bar, left + x, bar + 10), colour(low + x / scale))
    for value, words in _TICKS:
        pen.text((left + (value - low) * scale, bar + 14), words, _INK, font, anchor="ma")
    if any(value is not None and not math.isfinite(value) for row in values for value in row):
        pen.rectangle((8, bar, 24, bar + 10), _LOST)
        pen.text((30, bar + 5), "not finite", _INK, font, anchor="lm")
    return picture


def colour(slope: float | None) -> tuple[int, int, int]:
    """Return red, green and blue of a slope: blue below 0, grey from 0 to 1, orange above 1.

    Example:
        >>> colour(-1.0), colour(5.0), colour(math.nan)
        ((8, 71, 138), (143, 29, 12), (196, 20, 155))
    """
    if slope is None:
        return _GAP
    if not math.isfinite(slope):
        return _LOST
    value = min(max(slope, _STOPS[0][0]), _STOPS[-1][0])
    (start, first), (stop, last) = next((lower, upper) for lower, upper in pairwise(_STOPS) if value <= upper[0])
    part = (value - start) / (stop - start)
    red, green, blue = (round(a + part * (b - a)) for a, b in zip(first, last, strict=True))
    return red, green, blue
