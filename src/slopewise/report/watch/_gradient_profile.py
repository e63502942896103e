"""Chart of the gradient norm by depth, at three steps."""

from __future__ import annotations

import math

from slopewise.drawing import NOTHING, Chart, base_figure, depth_axis, log_ticks, row_height, spaced, tail
from slopewise.recording import Recording
from slopewise.report.watch._cells import figure

_LOOKS = (("circle-open", "var(--muted)"), ("diamond-open", "var(--muted)"), ("circle", "var(--arm-1)"))


def gradient_profile(recording: Recording) -> Chart | None:
    """Return the gradient norms by depth at the first, the middle and the latest sample; None without gradients.

    Example:
        >>> from slopewise.testing import synthetic_recording
        >>> gradient_profile(synthetic_recording(layers=2)).columns
        ('layer', 'step 1', 'step 501', 'step 951')
    """
    chosen = [recording.samples[index] for index in spaced(len(recording.samples), 3)]
    rows = list(dict.fromkeys(layer.layer for sample in chosen for layer in sample.layers))
    place = {row: index for index, row in enumerate(rows)}
    norms = [{x.layer: x.gradient for x in s.layers if x.gradient and math.isfinite(x.gradient)} for s in chosen]
    if not any(norms):
        return None
    chart = base_figure(height=60 + len(rows) * row_height(len(rows)))
    for sample, by_layer, (symbol, colour) in zip(chosen, norms, _LOOKS[-len(chosen) :], strict=True):
        chart.add_scatter(
            x=list(by_layer.values()),
            y=[place[row] for row in by_layer],
            mode="lines+markers",
            line={"color": colour, "width": 1},
            marker={"color": colour, "symbol": symbol, "size": 8},
            hovertext=[
                f"{tail(row, 50)}<br>step {sample.step}: gradient norm {figure(x)}" for row, x in by_layer.items()
            ],
            hoverinfo="text",
        )
    norm_ticks = log_ticks(norm for by_layer in norms for norm in by_layer.values())
    chart.update_xaxes(title="gradient norm, log scale", **norm_ticks)
    depth_axis(chart, rows)
    return Chart(
        "gradient-profile",
        "Gradient norm by depth: ○ first, ◇ middle, ● latest step",
        "Line chart: gradient norm of each layer at the first, the middle and the latest sampled step.",
        chart,
        ("layer", *(f"step {sample.step}" for sample in chosen)),
        tuple((row, *(figure(by_layer[row]) if row in by_layer else NOTHING for by_layer in norms)) for row in rows),
    )
