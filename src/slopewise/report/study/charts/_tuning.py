"""Charts of tuning: the best score so far against the number of rates tried, and the score at each rate."""

from __future__ import annotations

from slopewise.analysis import ArmTuning, tuning
from slopewise.drawing import NOTHING, Chart, add_curve, base_figure, log_ticks, name_y, number, series_styles
from slopewise.records import MetricRecord, StudyRecord
from slopewise.report.study.info._tuning import score_words


def tuning_charts(study: StudyRecord) -> list[Chart]:
    """Return both charts; empty while no rate has a score.

    Example:
        >>> from slopewise.testing import synthetic_study, with_cells
        >>> study = with_cells(synthetic_study(("relu", "prelu"), seeds=2), tune=[0.1, 0.05, 0.01])
        >>> [chart.columns for chart in tuning_charts(study)]
        [('rates tried', 'learning rate', 'relu', 'prelu'), ('learning rate', 'relu', 'prelu')]
    """
    arms = [arm for arm in tuning(study) if arm.rate is not None]
    return [_best_so_far(study, arms), _by_rate(study, arms)] if arms else []


def _best_so_far(study: StudyRecord, arms: list[ArmTuning]) -> Chart:
    metric, styles = study.primary, series_styles(study.arms, study.control)
    title = f"Best mean validation {metric.title} so far{f', {metric.value_unit}' if metric.value_unit else ''}"
    figure = base_figure()
    for arm in arms:
        points = [(place + 1, best) for place, best in enumerate(arm.best_so_far) if best is not None]
        hover = [
            f"after {n}: {number(best, metric.digits)}<br>tried last: {arm.rates[n - 1]:g}, "
            f"{score_words(arm, n - 1, metric.digits)}"
            for n, best in points
        ]
        add_curve(figure, arm.arm, styles[arm.arm], [n for n, _ in points], [best for _, best in points], None, hover)
    name_y(figure, _axis_name(metric))
    longest = max(arms, key=lambda arm: len(arm.rates))
    figure.update_xaxes(title="learning rates tried", **({"dtick": 1} if len(longest.rates) < 13 else {"nticks": 8}))
    rows = [
        (
            str(place + 1),
            f"{rate:g}",
            *(number(arm.best_so_far[place], metric.digits) if place < len(arm.rates) else NOTHING for arm in arms),
        )
        for place, rate in enumerate(longest.rates)
    ]
    return Chart(
        "tuning-best",
        title,
        f"Line chart: {title}, by the number of learning rates tried, one line per arm.",
        figure,
        ("rates tried", "learning rate", *(arm.arm for arm in arms)),
        tuple(rows),
    )


def _by_rate(study: StudyRecord, arms: list[ArmTuning]) -> Chart:
    metric, styles = study.primary, series_styles(study.arms, study.control)
    title = f"Mean validation {metric.title} by learning rate{f', {metric.value_unit}' if metric.value_unit else ''}"
    figure = base_figure()
    for arm in arms:
        points = sorted((rate, place) for place, rate in enumerate(arm.rates) if arm.scores[place] is not None)
        hover = [f"{rate:g}: {score_words(arm, place, metric.digits)}" for rate, place in points]
        scores = [arm.scores[place] or 0.0 for _, place in points]
        add_curve(figure, arm.arm, styles[arm.arm], [rate for rate, _ in points], scores, None, hover)
    name_y(figure, _axis_name(metric))
    rates = sorted({rate for arm in arms for rate in arm.rates})
    figure.update_xaxes(title="learning rate", **log_ticks(rates))
    tables = {
        arm.arm: {rate: score_words(arm, place, metric.digits) for place, rate in enumerate(arm.rates)} for arm in arms
    }
    return Chart(
        "tuning-rates",
        title,
        f"Line chart: {title} (logarithmic), one line per arm.",
        figure,
        ("learning rate", *tables),
        tuple((f"{rate:g}", *(table.get(rate, NOTHING) for table in tables.values())) for rate in rates),
    )


def _axis_name(metric: MetricRecord) -> str:
    return f"validation {metric.title}{f', {metric.value_unit}' if metric.value_unit else ''}"
