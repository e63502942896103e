"""The charts over training and over the layers: pure functions of records to figures."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from statistics import median

from slopewise.analysis import Curve, curves
from slopewise.drawing import (
    NOTHING,
    Chart,
    add_curve,
    arm_styles,
    base_figure,
    chart_text,
    interval,
    log_ticks,
    number,
)
from slopewise.records import SiteRecord, StudyRecord


@dataclass(frozen=True, slots=True)
class _Kind:
    value: str
    title: str
    unit: str
    digits: int
    from_zero: bool = True
    log: bool = False
    late: bool = False  # the second half of training alone


_UNITS = {
    "never-positive": _Kind("never_positive", "Units that are never positive, %", " %", 2),
    "zero-gradient": _Kind("zero_gradient", "Units that get no gradient, %", " %", 2),
}


def _kinds(study: StudyRecord) -> dict[str, _Kind]:
    """Return what is drawn of a study's epochs: the primary metric, the loss, the state of units."""
    primary = study.primary
    value, unit, digits = f"validation_{primary.name}", f" {primary.value_unit}", primary.digits
    title = f"Validation {primary.title}, {primary.value_unit}"
    kinds = {
        "accuracy": _Kind(value, title, unit, digits, from_zero=False),
        "late-accuracy": _Kind(value, f"{title}: the second half", unit, digits, from_zero=False, late=True),
    }
    for loss in (metric for metric in study.metrics if metric.name == "loss"):
        for part, word in (("train", "Training"), ("validation", "Validation")):
            title = f"{word} loss, {loss.unit} (logarithmic scale)"
            kinds[f"{part}-loss"] = _Kind(f"{part}_loss", title, f" {loss.unit}", loss.digits, log=True)
    return kinds | _UNITS


def curve_chart(study: StudyRecord, key: str) -> Chart | None:
    """Mean over seeds against the epoch, with its 95 % interval; None while no arm has a value.

    Args:
        study: the records so far.
        key: "accuracy", "late-accuracy", "train-loss", "validation-loss", "never-positive" or "zero-gradient".

    Example:
        >>> from slopewise.testing import synthetic_study
        >>> chart = curve_chart(synthetic_study(("relu", "prelu_shared"), seeds=3, epochs=2), "train-loss")
        >>> chart.columns
        ('epoch', 'relu', 'prelu_shared')
    """
    kind = _kinds(study)[key]
    found = {arm: curve for arm, curve in curves(study, kind.value).items() if curve.epochs}
    if kind.late:
        found = {arm: _second_half(curve) for arm, curve in found.items()}
    if not found:
        return None
    styles = arm_styles(study.arms, study.control)
    figure = base_figure()
    floor, top = (_log_floor(found.values()), math.inf) if kind.log else _ends(kind)
    for arm, curve in found.items():
        band = [(max(low, floor), min(max(high, floor), top)) for low, high in _band(curve)]
        words = [f"epoch {epoch}: {text}{kind.unit}" for epoch, text in _texts(curve, kind.digits).items()]
        add_curve(figure, arm, styles[arm], curve.epochs, [max(m, floor) for m in curve.mean], band, words)
    figure.update_xaxes(title="epoch", rangemode="normal" if kind.late else "tozero", **_epoch_ticks(found))
    figure.update_yaxes(rangemode="tozero" if kind.from_zero else "normal")
    if kind.log:
        figure.update_yaxes(log_ticks(v for curve in found.values() for v in (floor, *curve.mean)))
    return Chart(
        key,
        kind.title,
        f"Line chart: {kind.title}, by epoch, one line per arm with a 95 % interval band.",
        figure,
        ("epoch", *found),
        _curve_rows(found, kind.digits),
    )


def _ends(kind: _Kind) -> tuple[float, float]:
    """Return the ends of what a band can reach; percentages have two."""
    return (0.0, 100.0) if kind.unit == " %" else (-math.inf, math.inf)


def _epoch_ticks(found: Mapping[str, Curve]) -> dict[str, int]:
    """Few epochs would get ticks at fractions of one."""
    epochs = {epoch for curve in found.values() for epoch in curve.epochs}
    return {"dtick": 1} if max(epochs) - min(epochs) < 8 else {}


def _second_half(curve: Curve) -> Curve:
    start = next(k for k, epoch in enumerate(curve.epochs) if 2 * epoch >= curve.epochs[-1])
    fields = ("steps", "epochs", "mean", "low", "high", "n")
    return replace(curve, **{field: getattr(curve, field)[start:] for field in fields})


def _band(curve: Curve) -> list[tuple[float, float]]:
    """The interval at each epoch; the mean itself where a single seed gives none."""
    return [
        (mean if low is None else low, mean if high is None else high)
        for mean, low, high in zip(curve.mean, curve.low, curve.high, strict=True)
    ]


def _log_floor(found: Iterable[Curve]) -> float:
    """A logarithmic axis ends above 0: what reaches down to it is cut a little under the lowest mean."""
    return min((mean for curve in found for mean in curve.mean if mean > 0), default=1.0) / 2


def _texts(curve: Curve, digits: int) -> dict[int, str]:
    """By epoch, the mean with its interval, where there is one."""
    return {
        epoch: number(mean, digits) + ("" if low is None or high is None else f" {interval((low, high), digits)}")
        for epoch, mean, low, high in zip(curve.epochs, curve.mean, curve.low, curve.high, strict=True)
    }


def _curve_rows(found: Mapping[str, Curve], digits: int) -> tuple[tuple[str, ...], ...]:
    cells = {arm: _texts(curve, digits) for arm, curve in found.items()}
    epochs = sorted({epoch for column in cells.values() for epoch in column})
    return tuple((str(epoch), *(column.get(epoch, NOTHING) for column in cells.values())) for epoch in epochs)


@dataclass(frozen=True, slots=True)
class _SlopePath:
    """One arm's slopes in one layer over the epochs, over converged seeds: median of medians, and the extremes."""

    epochs: tuple[int, ...]
    middle: tuple[float, ...]
    ends: tuple[tuple[float, float], ...]


def _slope_paths(study: StudyRecord) -> dict[str, dict[str, _SlopePath]]:
    """By layer, then by arm; layers in the model's order, as the records have them."""
    sites: dict[str, dict[str, dict[int, list[SiteRecord]]]] = {}
    for trial in study.trials:
        for site in trial.sites if not trial.diverged else ():
            if site.slope_median is not None:
                by_epoch = sites.setdefault(site.layer, {}).setdefault(trial.arm, {})
                by_epoch.setdefault(site.epoch, []).append(site)
    return {layer: {arm: _slope_path(by_epoch) for arm, by_epoch in arms.items()} for layer, arms in sites.items()}


def _slope_path(by_epoch: Mapping[int, list[SiteRecord]]) -> _SlopePath:
    epochs = tuple(sorted(by_epoch))
    return _SlopePath(
        epochs,
        tuple(median(s.slope_median for s in by_epoch[e] if s.slope_median is not None) for e in epochs),
        tuple(
            (
                min(s.slope_min for s in by_epoch[e] if s.slope_min is not None),
                max(s.slope_max for s in by_epoch[e] if s.slope_max is not None),
            )
            for e in epochs
        ),
    )


def slope_charts(study: StudyRecord) -> list[Chart]:
    """One small chart per layer, all on one scale; empty without converged trials that learn slopes.

    Example:
        >>> from slopewise.testing import synthetic_study
        >>> [chart.title for chart in slope_charts(synthetic_study(("relu", "prelu_shared"), seeds=2))][:2]
        ['act1', 'act2']
    """
    paths = _slope_paths(study)
    ends = [end for arms in paths.values() for path in arms.values() for pair in path.ends for end in pair]
    if not ends:
        return []
    low, high = min(*ends, 0.0), max(ends)
    pad = 0.05 * (high - low or 1.0)
    styles = arm_styles(study.arms, study.control)
    charts = []
    for index, (layer, arms) in enumerate(paths.items()):
        figure = base_figure(height=190)
        figure.update_yaxes(range=[low - pad, high + pad], nticks=5)
        figure.update_xaxes(nticks=5)
        figure.add_hline(y=0, line={"color": "var(--muted)", "width": 1, "dash": "dot"})
        for arm, path in arms.items():
            words = [
                f"epoch {epoch}: median slope {number(middle, 3)}<br>{number(lowest, 3)} to {number(highest, 3)}"
                for epoch, middle, (lowest, highest) in zip(path.epochs, path.middle, path.ends, strict=True)
            ]
            add_curve(figure, arm, styles[arm], path.epochs, path.middle, path.ends, words)
        label = f"Line chart: slopes of layer {layer} by epoch, one line per arm that learns them."
        charts.append(Chart(f"slopes-{index}", layer, label, figure))
    return charts


def slope_table(study: StudyRecord) -> tuple[tuple[str, ...], ...]:
    """Rows of layer, arm, first median, last median, last lowest and last highest slope."""
    return tuple(
        (layer, arm, *(number(v, 3) for v in (path.middle[0], path.middle[-1], *path.ends[-1])))
        for layer, arms in _slope_paths(study).items()
        for arm, path in arms.items()
    )


def gradient_chart(study: StudyRecord) -> Chart | None:
    """Gradient norm of every layer after the last epoch: median over converged seeds, lowest to highest as a bar."""
    norms: dict[str, dict[str, list[float]]] = {}
    for trial in study.trials:
        last = max((record.epoch for record in trial.gradients), default=0)
        for record in trial.gradients if not trial.diverged else ():
            if record.epoch == last and record.norm is not None:
                norms.setdefault(record.layer, {}).setdefault(trial.arm, []).append(record.norm)
    if not norms:
        return None
    layers = list(norms)
    styles = arm_styles(study.arms, study.control)
    arms = [arm for arm in study.arms if any(arm in by_arm for by_arm in norms.values())]
    figure = base_figure(height=60 + len(layers) * max(26, 9 * len(arms)))
    for position, arm in enumerate(arms):
        offset = 0.7 * ((position + 0.5) / len(arms) - 0.5)  # the arms of one layer stand under each other
        rows = [(index, layer, norms[layer][arm]) for index, layer in enumerate(layers) if arm in norms[layer]]
        middle = [median(values) for _, _, values in rows]
        figure.add_scatter(
            x=middle,
            y=[index + offset for index, _, _ in rows],
            error_x={
                "array": [max(values) - m for (_, _, values), m in zip(rows, middle, strict=True)],
                "arrayminus": [m - min(values) for (_, _, values), m in zip(rows, middle, strict=True)],
                "color": styles[arm].colour,
                "thickness": 1.2,
                "width": 0,
            },
            mode="markers",
            marker={"color": styles[arm].colour, "symbol": styles[arm].marker, "size": 7},
            name=chart_text(arm),
            text=[chart_text(layer) for _, layer, _ in rows],
            hovertemplate="%{text}: median %{x:.3g}",
            legendgroup=str(styles[arm].number),
        )
    ticks = log_ticks(norm for by_arm in norms.values() for values in by_arm.values() for norm in values)
    figure.update_xaxes(title="gradient norm (logarithmic scale)", **ticks)
    figure.update_yaxes(
        tickvals=list(range(len(layers))),
        ticktext=[chart_text(layer, 18) for layer in layers],
        range=[len(layers) - 0.5, -0.5],
    )
    return Chart(
        "gradients",
        "Gradient norm per layer after the last epoch",
        "Dot chart: gradient norm of every layer, one dot per arm, a bar from the lowest to the highest seed.",
        figure,
        ("layer", *arms),
        tuple(
            (layer, *(number(median(by_arm[arm])) if arm in by_arm else NOTHING for arm in arms))
            for layer, by_arm in norms.items()
        ),
    )
