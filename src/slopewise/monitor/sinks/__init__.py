"""Receivers of a monitor's samples and alarms: a file, or the tracker that already follows the run.

`Sink` is the contract for those who write their own. The trackers' libraries come with `pip install
slopewise[trackers]` and are imported when a sink is made; `JsonLines` needs none. `replay` sends a finished recording
to a sink. `run_metrics`, `layer_metrics`, `alarm_table` and `SlopeMap` are the form in which trackers get what a sample
and its alarms say: sinks of one's own for other trackers start from them.
"""

from slopewise.monitor.sinks._base import Sink as Sink
from slopewise.monitor.sinks._jsonl import JsonLines as JsonLines
from slopewise.monitor.sinks._metrics import alarm_table as alarm_table
from slopewise.monitor.sinks._metrics import layer_metrics as layer_metrics
from slopewise.monitor.sinks._metrics import run_metrics as run_metrics
from slopewise.monitor.sinks._mlflow import MLflow as MLflow
from slopewise.monitor.sinks._replay import replay as replay
from slopewise.monitor.sinks._slope_map import SlopeMap as SlopeMap
from slopewise.monitor.sinks._tensorboard import TensorBoard as TensorBoard
from slopewise.monitor.sinks._wandb import WandB as WandB
