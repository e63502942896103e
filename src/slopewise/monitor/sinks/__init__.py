"""Where a monitor's samples and alarms go: a file, or the tracker that the run is already in.

`Sink` is the contract for those who write their own. The libraries come with `pip install slopewise[trackers]` and are
imported when a sink is made; `JsonLines` needs none. `replay` takes a recording to a sink afterwards.
"""

from slopewise.monitor.sinks._base import Sink as Sink
from slopewise.monitor.sinks._jsonl import JsonLines as JsonLines
from slopewise.monitor.sinks._mlflow import MLflow as MLflow
from slopewise.monitor.sinks._replay import replay as replay
from slopewise.monitor.sinks._tensorboard import TensorBoard as TensorBoard
from slopewise.monitor.sinks._wandb import WandB as WandB
