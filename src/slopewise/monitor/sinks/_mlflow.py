"""Recording in MLflow."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slopewise.monitor.sinks._base import Sink
from slopewise.monitor.sinks._jsonl import JsonLines
from slopewise.monitor.sinks._metrics import RUN, alarm_table, layer_metrics, run_metrics
from slopewise.monitor.sinks._replay import replay
from slopewise.monitor.sinks._slope_map import SlopeMap
from slopewise.recording import Alarm, End, Header, Recording, Sample
from slopewise.support import need

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

_BATCH = 1000  # metrics that MLflow takes in one request


class MLflow(Sink):
    """Logs to a run of MLflow: metrics with their step, alarms as tags, and the recording as an artifact.

    - Metrics "slopewise/...": the ends over all layers; "slopewise_layers/...": those of single layers. All of a sample
      go in one request (MLflow takes 1000 at once).
    - Tags "slopewise.dead-units", ...: the alarms with this id, once they are raised.
    - Artifacts in "slopewise", at the end: `recording.jsonl` for `read_recording`, `alarms.md`, `slopes.png`.

    Args:
        run_id: Id of the run; None takes the active one, or else starts one and ends it with this sink.
        client: Client of MLflow; None makes one for MLflow's tracking URI.
        layers: True to log the metrics of single layers, too, up to 14 for each layer of the model.

    Raises:
        ModuleNotFoundError: MLflow is not installed: `pip install slopewise[trackers]`.

    Example:
        >>> MLflow("5c1d")
        MLflow('5c1d')
    """

    def __init__(self, run_id: str | None = None, *, client: MlflowClient | None = None, layers: bool = True) -> None:
        self._mlflow = need("mlflow", what="sinks.MLflow", extra="trackers")
        self._given, self._client, self._layers = run_id, client, layers

    def __repr__(self) -> str:
        return f"MLflow({self._given!r})"

    def start(self, header: Header) -> None:
        """Find the run."""
        self._own = self._given is None and self._mlflow.active_run() is None
        if self._given is not None:
            self._run = self._given
        else:
            self._run = (self._mlflow.active_run() or self._mlflow.start_run()).info.run_id
        self._api: Any = self._client if self._client is not None else self._mlflow.MlflowClient()
        self._map, self._header = SlopeMap(), header
        self._samples, self._alarms = list[Sample](), list[Alarm]()

    def sample(self, sample: Sample) -> None:
        """Log the metrics."""
        self._samples.append(sample)
        self._map.add(sample)
        now = int(time.time() * 1000)
        entries = [
            self._mlflow.entities.Metric(name, value, now, sample.step)
            for name, value in (run_metrics(sample) | (layer_metrics(sample) if self._layers else {})).items()
        ]
        for first in range(0, len(entries), _BATCH):
            self._api.log_batch(self._run, metrics=entries[first : first + _BATCH])

    def alarm(self, alarm: Alarm) -> None:
        """Set the tag of this alarm."""
        self._alarms.append(alarm)
        self._api.set_tag(self._run, f"{RUN}.{alarm.id}", _tag([a for a in self._alarms if a.id == alarm.id]))

    def close(self, end: End) -> None:
        """Log the artifacts; end the run that was started here."""
        with tempfile.TemporaryDirectory() as folder:
            self._write(Path(folder), end)
            self._api.log_artifacts(self._run, folder, RUN)
        if self._own:
            self._mlflow.end_run("FAILED" if end.error else "FINISHED")

    def _write(self, folder: Path, end: End) -> None:
        recording = Recording(self._header, tuple(self._samples), tuple(self._alarms), end)
        replay(recording, JsonLines(folder / "recording.jsonl"))
        if self._alarms:
            (folder / "alarms.md").write_text(alarm_table(self._alarms) + "\n", encoding="utf-8")
        if (picture := self._map.picture()) is not None:
            picture.save(folder / "slopes.png")


def _tag(alarms: Sequence[Alarm]) -> str:
    """Return the first few alarms in words: servers refuse long tags."""
    more = f"; and {len(alarms) - 5} more" if len(alarms) > 5 else ""
    return "; ".join(f"step {alarm.step}: {alarm.where}: {alarm.evidence}" for alarm in alarms[:5]) + more
