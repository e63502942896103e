"""A plain loop, watched in two lines, and logged to a file, TensorBoard, MLflow and Weights & Biases at once.

The run is one that goes wrong, so that there is something to see: one slope for each layer, a learning rate that is too
high, for slopes as for weights, and weight decay on everything.
"""

import os
import tempfile
from pathlib import Path

import mlflow
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn

import slopewise as sw
from slopewise.monitor import read_recording
from slopewise.monitor.sinks import JsonLines, MLflow, TensorBoard, WandB

folder = Path(tempfile.mkdtemp(prefix="slopewise-"))
os.environ |= {
    "MLFLOW_TRACKING_URI": (folder / "mlruns").as_uri(),
    "MLFLOW_ALLOW_FILE_STORE": "true",  # files in place of a server
    "WANDB_MODE": "offline",
    "WANDB_SILENT": "true",
    "WANDB_DIR": str(folder),
}

torch.manual_seed(0)
digits = load_digits()
images, labels = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16, torch.tensor(digits.target)
model = nn.Sequential(
    nn.Conv2d(1, 16, 3, padding=1),
    nn.PReLU(),
    nn.Conv2d(16, 32, 3, padding=1, stride=2),
    nn.PReLU(),
    nn.Conv2d(32, 32, 3, padding=1),
    nn.ReLU(),
    nn.AdaptiveAvgPool2d(1),
    nn.Flatten(),
    nn.Linear(32, 10),
)
optimizer = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9, weight_decay=1e-2)

sinks = [JsonLines(folder / "run.jsonl"), TensorBoard(folder / "board"), MLflow(), WandB()]
with sw.watch(model, every=5, sinks=sinks) as monitor:
    for step in range(100):
        batch = slice(64 * step % 1280, 64 * step % 1280 + 64)
        optimizer.zero_grad()
        F.cross_entropy(model(images[batch]), labels[batch]).backward()
        optimizer.step()

print(monitor.summary())
for alarm in monitor.alarms:
    print(alarm)
print(f"alarms raised: {len(monitor.alarms)}")
print(f"\nread back from the file: {read_recording(folder / 'run.jsonl') == monitor.recording}")
print(f"the file:         slopewise inspect {folder / 'run.jsonl'}")
print(f"TensorBoard:      tensorboard --logdir {folder / 'board'}")
print(f"MLflow:           {Path(mlflow.last_active_run().info.artifact_uri.removeprefix('file://')).parent}")
print(f"Weights & Biases: wandb sync {next(folder.glob('wandb/offline-run-*'))}")
