"""Charts of figures over training: a line and an interval band for each arm."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from slopewise.analysis import Curve
from slopewise.drawing import (
    NOTHING,
    Chart,
    add_curve,
    base_figure,
    interval,
    log_ticks,
    name_y,
    number,
    series_styles,
    turns,
)
from slopewise.records import StudyRecord
from slopewise.report.study.info._curves import curve_info
from slopewise.report.study.info._slopes import SlopePath


def curve_chart(study: StudyRecord, key: str) -> Chart | None:
    """Return the mean over seeds against the epoch, with its 95 % interval; None while no arm has a value.

    Args:
        study: Records so far.
        key: "score", "late-score", "train-loss", "validation-loss", "never-positive" or "zero-gradient".

    Example:
        >>> from slopewise.testing import synthetic_study
        >>> chart = curve_chart(synthetic_study(("relu", "prelu_shared"), seeds=3, epochs=2), "train-loss")
        >>> chart.columns
        ('epoch', 'relu', 'prelu_shared')
    """
    info = curve_info(study, key)
    if info is None:
        return None
    styles = series_styles(study.arms, study.control)
    figure = base_figure()
    floor, top = info.bounds
    if info.log:
        floor = _log_floor(info.curves.values())
    turn = turns({arm: curve.mean for arm, curve in info.curves.items()})
    for arm, curve in info.curves.items():
        band = [(max(low, floor), min(max(high, floor), top)) for low, high in _band(curve)]
        hover = [f"epoch {epoch}: {text}{info.unit}" for epoch, text in _texts(curve, info.digits).items()]
        means = [max(mean, floor) for mean in curve.mean]
        add_curve(figure, arm, styles[arm], curve.epochs, means, band, hover, turn[arm])
    figure.update_xaxes(title="epoch", rangemode="normal" if info.late else "tozero", **epoch_ticks(info.curves))
    name_y(figure, info.name)
    if info.log:
        figure.update_yaxes(log_ticks(value for curve in info.curves.values() for value in (floor, *curve.mean)))
    elif info.from_zero:
        top = max((min(end, top) for curve in info.curves.values() for _, end in _band(curve)), default=0.0) or 1.0
        figure.update_yaxes(range=[-0.05 * top, 1.05 * top])  # lines at 0 must not lie on the axis
    return Chart(
        info.key,
        info.title,
        f"Line chart: {info.title}, by epoch, one line per arm with a 95 % interval band.",
        figure,
        ("epoch", *info.curves),
        _rows(info.curves, info.digits),
        info.note,
    )


def epoch_ticks(curves: Mapping[str, Curve | SlopePath], most: int = 8) -> dict[str, int]:
    """Return the layout of an axis of epochs: Plotly would put ticks at fractions of an epoch where there are few."""
    epochs = {epoch for curve in curves.values() for epoch in curve.epochs}
    return {"dtick": 1} if max(epochs) - min(epochs) < most else {"nticks": most}


def _band(curve: Curve) -> list[tuple[float, float]]:
    """Return the interval at each epoch; the mean itself where a single seed gives no interval."""
    return [
        (mean if low is None else low, mean if high is None else high)
        for mean, low, high in zip(curve.mean, curve.low, curve.high, strict=True)
    ]


def _log_floor(curves: Iterable[Curve]) -> float:
    """Return the lower end of a logarithmic axis, which cannot reach 0: half of the lowest positive mean."""
    return min((mean for curve in curves for mean in curve.mean if mean > 0), default=1.0) / 2


def _texts(curve: Curve, digits: int) -> dict[int, str]:
    """Return the mean with its interval, if it has one, by epoch."""
    return {
        epoch: number(mean, digits) + ("" if low is None or high is None else f" {interval((low, high), digits)}")
        for epoch, mean, low, high in zip(curve.epochs, curve.mean, curve.low, curve.high, strict=True)
    }


def _rows(curves: Mapping[str, Curve], digits: int) -> tuple[tuple[str, ...], ...]:
    columns = {arm: _texts(curve, digits) for arm, curve in curves.items()}
    epochs = sorted({epoch for column in columns.values() for epoch in column})
    return tuple((str(epoch), *(column.get(epoch, NOTHING) for column in columns.values())) for epoch in epochs)
