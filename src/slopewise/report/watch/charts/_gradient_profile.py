"""Chart of the gradient norm by depth, at three steps."""

from __future__ import annotations

from slopewise.drawing import Chart, base_figure, compact, depth_axis, log_ticks, name_y, row_height, tail
from slopewise.report.watch.info import ProfileInfo

_LOOKS = (("circle-open", "var(--muted)"), ("diamond-open", "var(--muted)"), ("circle", "var(--arm-1)"))


def gradient_profile(info: ProfileInfo) -> Chart | None:
    """Return the chart of the gradient norms by depth; None without norms.

    Example:
        >>> from slopewise.report.watch.info import profile_info
        >>> from slopewise.testing import synthetic_recording
        >>> gradient_profile(profile_info(synthetic_recording(layers=2))).columns
        ('layer', 'step 1', 'step 501', 'step 951')
    """
    if not any(info.norms.values()):
        return None
    row_index = {layer: index for index, layer in enumerate(info.layers)}
    chart = base_figure(height=80 + len(info.layers) * row_height(len(info.layers)))
    for (step, norms), (symbol, colour) in zip(info.norms.items(), _LOOKS[-len(info.norms) :], strict=True):
        chart.add_scatter(
            x=list(norms.values()),
            y=[row_index[layer] for layer in norms],
            mode="lines+markers",
            line={"color": colour, "width": 1},
            marker={"color": colour, "symbol": symbol, "size": 8},
            hovertext=[
                f"{tail(layer, 50)}<br>step {step}: gradient norm {compact(norm)}" for layer, norm in norms.items()
            ],
            hoverinfo="text",
        )
    norm_ticks = log_ticks(norm for norms in info.norms.values() for norm in norms.values())
    chart.update_xaxes(title="gradient norm, log scale", **norm_ticks)
    depth_axis(chart, info.layers)
    name_y(chart, "layer, from input to output")
    return Chart(
        "gradient-profile",
        "Gradient norm by depth: ○ first, ◇ middle, ● latest step",
        "Line chart: gradient norm of each layer at the first, the middle and the latest sampled step.",
        chart,
        ("layer", *(f"step {step}" for step in info.norms)),
        tuple((layer, *(compact(norms.get(layer)) for norms in info.norms.values())) for layer in info.layers),
    )
