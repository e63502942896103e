"""Receivers of a monitor's samples and alarms: a file, or the tracker that already follows the run.

`Sink` is the contract for those who write their own. The trackers' libraries come with `pip install
slopewise[trackers]` and are imported when a sink is made; `JsonLines` needs none. `replay` sends a finished recording
to a sink.
"""

from slopewise.monitor.sinks._base import Sink as Sink
from slopewise.monitor.sinks._jsonl import JsonLines as JsonLines
from slopewise.monitor.sinks._mlflow import MLflow as MLflow
from slopewise.monitor.sinks._replay import replay as replay
from slopewise.monitor.sinks._tensorboard import TensorBoard as TensorBoard
from slopewise.monitor.sinks._wandb import WandB as WandB
