"""The bar chart of docs/performance.md, drawn by plotly.js in Chromium from the results of the three comparisons.

    python benchmarks/_plot.py benchmarks/results docs/images/performance.svg

Each panel shows one case of kernels.json, networks.json or memory.json: what each candidate takes of ReLU's time or
memory, with the middle half of the rounds as a whisker.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import plotly.graph_objects as go
from playwright.sync_api import sync_playwright
from plotly.offline import get_plotlyjs
from plotly.subplots import make_subplots

WIDTH, BAR, FRAME = 860, 25, 46  # pixels: the picture, a bar, what stands around a panel's bars

_STEP = {"network": "resnet20", "layout": "channels_last", "batch": "batch 128"}
_TENSOR = {"size": "128x16x32x32", "layout": "channels_last", "dtype": "float32", "pass": "both"}
# file, title, question, and what the case must have
PANELS = (
    ("networks", "Training step of ResNet-20", "training step", {**_STEP, "memory": "memory kept"}),
    ("kernels", "BatchNorm and activation", "batch_norm_prelu", {**_TENSOR, "residual": "no residual"}),
    ("kernels", "Activation alone", "prelu", {**_TENSOR, "slopes": "per channel"}),
    ("memory", "Bytes that a step of ResNet-20 saves for backward", "bytes saved for backward", _STEP),
)


def panel(results: dict[str, Any], question: str, where: dict[str, str]) -> dict[str, list[float]]:
    """[median, low, high] of each candidate's ratio to ReLU, in the one case that fits."""
    fitting = [m for m in results["measurements"] if m["question"] == question and where.items() <= m["case"].items()]
    if len(fitting) != 1:
        raise SystemExit(f"{len(fitting)} cases of '{question}' fit {where}: run the whole benchmark first")
    return fitting[0]["ratio_to_base"]


def colour(name: str, base: str) -> str:
    """Blue for slopewise, vermilion for stock PReLU, grey for ReLU and the floors (Okabe and Ito's palette)."""
    if name.startswith("slopewise"):
        return "#0072B2"
    return "#D55E00" if "prelu" in name.lower() else "#7F7F7F" if name == base else "#B5B5B5"


def draw(panels: list[tuple[str, dict[str, list[float]]]]) -> go.Figure:
    heights = [BAR * len(ratios) + FRAME for _, ratios in panels]
    figure = make_subplots(
        rows=len(panels),
        row_heights=heights,
        vertical_spacing=FRAME / sum(heights),
        subplot_titles=[f"<b>{title}</b>, ReLU = 1" for title, _ in panels],
    )
    figure.update_annotations(x=0, xanchor="left", font_size=13)
    for row, (_, ratios) in enumerate(panels, start=1):
        names = sorted(ratios, key=lambda name: -ratios[name][0])
        base = next(iter(ratios))
        figure.add_bar(
            x=[ratios[name][0] for name in names],
            y=names,
            orientation="h",
            marker_color=[colour(name, base) for name in names],
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [ratios[name][2] - ratios[name][0] for name in names],
                "arrayminus": [ratios[name][0] - ratios[name][1] for name in names],
                "color": "#333",
                "thickness": 1,
                "width": 3,
            },
            row=row,
            col=1,
        )
        longest = max(high for _, _, high in ratios.values())
        for name in names:
            figure.add_annotation(
                x=ratios[name][2],
                y=name,
                text=f"{ratios[name][0]:.2f}",
                xanchor="left",
                xshift=4,
                showarrow=False,
                row=row,
                col=1,
            )
        figure.update_xaxes(range=[0, 1.1 * longest], showticklabels=False, showgrid=False, row=row, col=1)
        figure.add_vline(x=1, line_width=1, line_dash="dot", line_color="#333", row=row, col=1)
    figure.update_layout(
        template="plotly_white",
        width=WIDTH,
        height=sum(heights),
        margin={"l": 8, "r": 8, "t": 30, "b": 8},
        font={"family": "Helvetica, Arial, sans-serif", "size": 13, "color": "#222"},
        showlegend=False,
        bargap=0.3,
    )
    figure.update_yaxes(automargin=True, ticklabelstandoff=6)
    return figure


def to_svg(figure: go.Figure) -> str:
    options = {"format": "svg", "width": figure.layout.width, "height": figure.layout.height}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-background-networking"]
        )
        tab = browser.new_page()
        tab.add_script_tag(content=get_plotlyjs())
        url = tab.evaluate(f"Plotly.toImage({figure.to_json()}, {json.dumps(options)})")
        browser.close()
    return unquote(url.partition(",")[2])


def main(results: Path, picture: Path) -> None:
    found = {name: json.loads((results / f"{name}.json").read_text(encoding="utf-8")) for name, *_ in PANELS}
    panels = [(title, panel(found[name], question, where)) for name, title, question, where in PANELS]
    picture.parent.mkdir(parents=True, exist_ok=True)
    picture.write_text(to_svg(draw(panels)) + "\n", encoding="utf-8")
    print(f"written to {picture}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
