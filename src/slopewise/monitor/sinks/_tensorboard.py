"""Recording in TensorBoard."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from slopewise.monitor.sinks._base import Sink
from slopewise.monitor.sinks._metrics import RUN, alarm_table, charts, layer_metrics, run_metrics
from slopewise.monitor.sinks._slope_map import SlopeMap
from slopewise.recording import Alarm, End, Header, Sample
from slopewise.support import need

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class TensorBoard(Sink):
    """Logs to a TensorBoard event file: a dozen charts for the run, and one with a line per layer for each quantity.

    - Time series, group "slopewise": the extremes over all layers, such as the largest fraction of dead units.
    - Custom scalars, category "slopewise": a chart per quantity, a line per layer. Their data are the group
      "slopewise_layers" of the time series.
    - Images, "slopewise/slopes": layers by steps, at the end and after 10, 20, 40, ... samples.
    - Text, "slopewise/alarms": the table of all alarms so far; "slopewise/notes": what could not be seen.

    Args:
        writer: A `SummaryWriter` (it is flushed, not closed, at the end), or the folder of a new one.
        layers: True to log the metrics of single layers, too, up to 14 for each layer of the model.

    Raises:
        TypeError: `writer` is neither.
        ModuleNotFoundError: tensorboard is not installed: `pip install slopewise[trackers]`.

    Example:
        >>> import tempfile
        >>> from slopewise.testing import synthetic_recording
        >>> from slopewise.monitor.sinks import replay
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     replay(synthetic_recording(), TensorBoard(folder))
        ...     os.listdir(folder)[0][:19]
        'events.out.tfevents'
    """

    def __init__(self, writer: SummaryWriter | str | os.PathLike[str], *, layers: bool = True) -> None:
        need("torch.utils.tensorboard", what="sinks.TensorBoard", extra="trackers")
        self._given: Any = writer
        self._own = isinstance(writer, (str, os.PathLike))
        if not self._own and not hasattr(writer, "add_custom_scalars"):
            raise TypeError(f"writer must be a SummaryWriter or a folder, got {type(writer).__name__}")
        self._layers = layers

    def start(self, header: Header) -> None:
        """Open the event file, if a folder was given."""
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(os.fspath(self._given)) if self._own else self._given
        self._map, self._alarms = SlopeMap(), list[Alarm]()
        self._step, self._layout = 0, False
        self._writer.add_text(
            f"{RUN}/run", f"{header.model}, sampled every {header.every} steps. {header.name}".strip()
        )

    def sample(self, sample: Sample) -> None:
        """Log the scalars."""
        if self._layers and not self._layout:
            lines = {title: ["Multiline", [prefix]] for title, prefix in charts(sample).items()}
            self._writer.add_custom_scalars({RUN: lines})
            self._layout = True
        for name, value in (run_metrics(sample) | (layer_metrics(sample) if self._layers else {})).items():
            self._writer.add_scalar(name, value, sample.step)
        self._step = sample.step
        if self._map.add(sample):
            self._draw()

    def alarm(self, alarm: Alarm) -> None:
        """Log the table of all alarms: TensorBoard keeps only ten texts of a tag."""
        self._alarms.append(alarm)
        self._writer.add_text(f"{RUN}/alarms", alarm_table(self._alarms), alarm.step)

    def close(self, end: End) -> None:
        """Log the picture and what could not be seen."""
        self._draw()
        if end.notes:
            self._writer.add_text(f"{RUN}/notes", "\n".join(f"- {note}" for note in end.notes), end.step)
        self._writer.close() if self._own else self._writer.flush()

    def _draw(self) -> None:
        if (picture := self._map.picture()) is not None:
            import numpy as np

            self._writer.add_image(f"{RUN}/slopes", np.asarray(picture), self._step, dataformats="HWC")
