"""Fixed style of each series, the same in every chart: colour, marker, and dash where colours run out.

Colours are CSS variables ("var(--arm-1)"), resolved in the browser, so that the stylesheet alone holds the palette
(Okabe and Ito's, safe for colour-blind readers) in its light and its dark shades.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from slopewise.support import printable

HUES = 8  # --arm-0 (grey, the reference's) to --arm-7 in style.css
_DASHES = ("solid", "dot", "dash")
# Plotly's marker names, and the same shapes as paths in a box from -5 to 5 for the legend.
MARKERS = {
    "circle": "M-4,0a4,4 0 1,0 8,0a4,4 0 1,0 -8,0Z",
    "square": "M-3.5,-3.5H3.5V3.5H-3.5Z",
    "diamond": "M0,-5L5,0L0,5L-5,0Z",
    "triangle-up": "M0,-4.5L4.5,3.5H-4.5Z",
    "triangle-down": "M0,4.5L4.5,-3.5H-4.5Z",
    "pentagon": "M0,-4.5L4.3,-1.4L2.6,3.6H-2.6L-4.3,-1.4Z",
    "hexagon": "M-2.3,-4H2.3L4.6,0L2.3,4H-2.3L-4.6,0Z",
    "star": "M0,-5L1.3,-1.6L4.8,-1.5L2,0.6L3,4L0,2L-3,4L-2,0.6L-4.8,-1.5L-1.3,-1.6Z",
}


@dataclass(frozen=True, slots=True)
class SeriesStyle:
    """Style of one series; `number` is its place in the legend, 0 for the reference."""

    number: int
    colour: str
    marker: str
    dash: str


def series_styles(names: Sequence[str], reference: str) -> dict[str, SeriesStyle]:
    """Return the style of every series: the reference is grey, the others take the hues in their order.

    Example:
        >>> series_styles(["prelu", "relu"], reference="relu")["prelu"].colour
        'var(--arm-1)'
    """
    order = [name for name in names if name == reference] + [name for name in names if name != reference]
    markers = list(MARKERS)
    styles = {}
    for number, name in enumerate(order):
        # After the last hue comes the first again, with another dash; only the reference is grey.
        turn, hue = divmod(number - 1, HUES - 1) if number else (0, -1)
        styles[name] = SeriesStyle(number, f"var(--arm-{hue + 1})", markers[hue + 1], _DASHES[turn % len(_DASHES)])
    return {name: styles[name] for name in names}


def chart_text(text: str, longest: int = 30) -> str:
    """Return user text made inert for Plotly, which reads some HTML tags and entities in its labels; cut when long.

    Example:
        >>> chart_text("<b>arm</b>")
        '&lt;b&gt;arm&lt;/b&gt;'
    """
    text = printable(text)
    return escape(text if len(text) <= longest else f"{text[: longest - 1]}…", quote=False)
