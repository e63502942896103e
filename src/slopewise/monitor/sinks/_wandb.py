"""Recording in Weights & Biases."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from slopewise.monitor.sinks._base import Sink
from slopewise.monitor.sinks._metrics import (
    ALARM_COLUMNS,
    LAYERS,
    QUANTITIES,
    RUN,
    alarm_row,
    layer_metrics,
    run_metrics,
)
from slopewise.monitor.sinks._slope_map import SlopeMap
from slopewise.recording import Alarm, End, Header, Sample
from slopewise.support import need

if TYPE_CHECKING:
    from wandb import Run

_ROWS = 10_000  # of a table that Weights & Biases shows


class WandB(Sink):
    """Logs to a run of Weights & Biases, with an axis of its own: "slopewise/step" counts optimizer steps.

    - "slopewise/...": the ends over all layers, a dozen panels.
    - "slopewise_layers/...": those of single layers, hidden from the automatic panels, there for panels of your own. At
      the end a chart per quantity with a line per layer, "slopewise_charts/...".
    - "slopewise/alarms", a table, and "slopewise/slopes", a picture of layers by steps, at the end.

    Args:
        run: Run to log to; None takes the current one, or else starts one and finishes it with this sink.
        alert: True to send each alarm as an alert, too, by mail or to Slack.
        layers: True to log the metrics of single layers, too, up to 14 for each layer of the model.
        commit: True to make each sample a row of the run's history. Weights & Biases drops rows whose `step=` is over.
            Where your own loop calls `run.log(..., step=...)`, and with smaller numbers than the number of its calls,
            pass False: samples then go into the open row, and of several in one row the latest is kept.

    Raises:
        ModuleNotFoundError: wandb is not installed: `pip install slopewise[trackers]`.

    Example:
        >>> WandB(alert=True)
        WandB(alert=True)
    """

    def __init__(
        self, run: Run | None = None, *, alert: bool = False, layers: bool = True, commit: bool = True
    ) -> None:
        self._wandb = need("wandb", what="sinks.WandB", extra="trackers")
        self._given, self._alert, self._layers, self._commit = run, alert, layers, commit

    def __repr__(self) -> str:
        return f"WandB(alert={self._alert})"

    def start(self, header: Header) -> None:
        """Find the run, and define the axis."""
        self._own = self._given is None and self._wandb.run is None
        self._run: Any = self._given or self._wandb.run or self._wandb.init(name=header.name or None)
        self._run.define_metric(f"{RUN}/step", hidden=True)
        self._run.define_metric(f"{RUN}/*", step_metric=f"{RUN}/step")
        self._run.define_metric(f"{LAYERS}/*", step_metric=f"{RUN}/step", hidden=True)
        self._map, self._samples, self._alarms = SlopeMap(), list[Sample](), list[Alarm]()

    def sample(self, sample: Sample) -> None:
        """Log the scalars."""
        self._samples.append(sample)
        self._map.add(sample)
        metrics = run_metrics(sample) | (layer_metrics(sample) if self._layers else {})
        self._run.log({f"{RUN}/step": sample.step, **metrics}, commit=self._commit)

    def alarm(self, alarm: Alarm) -> None:
        """Keep it for the table; send it, if asked."""
        self._alarms.append(alarm)
        if self._alert:
            self._run.alert(
                title=f"{alarm.id} at {alarm.where}", text=f"{alarm}. {alarm.advice}", level="WARN", wait_duration=0
            )

    def close(self, end: End) -> None:
        """Log table, picture and charts; finish the run that was started here."""
        last: dict[str, Any] = self._charts() if self._layers else {}
        if self._alarms:
            rows = [list(alarm_row(alarm)) for alarm in self._alarms]
            last[f"{RUN}/alarms"] = self._wandb.Table(columns=list(ALARM_COLUMNS), data=rows)
        if (picture := self._map.picture()) is not None:
            last[f"{RUN}/slopes"] = self._wandb.Image(picture)
        if last and self._samples:
            self._run.log({f"{RUN}/step": self._samples[-1].step, **last}, commit=self._commit)
        if self._own:
            self._run.finish(exit_code=int(bool(end.error)))

    def _charts(self) -> dict[str, Any]:
        """Return a chart per quantity with a line per layer, of as many samples as a table has room for."""
        titles = {quantity.name: quantity.title for quantity in QUANTITIES}
        lines: dict[str, dict[str, list[tuple[int, float]]]] = {}
        for sample in self._samples:
            for name, value in layer_metrics(sample).items():
                _, quantity, layer = name.split("/")
                lines.setdefault(quantity, {}).setdefault(layer, []).append((sample.step, value))
        charts = {}
        for quantity, layers in lines.items():
            every = math.ceil(sum(map(len, layers.values())) / _ROWS)
            charts[f"{RUN}_charts/{quantity}"] = self._wandb.plot.line_series(
                xs=[[step for step, _ in line[::every]] for line in layers.values()],
                ys=[[value for _, value in line[::every]] for line in layers.values()],
                keys=list(layers),
                title=titles[quantity],
                xname="step",
            )
        return charts
