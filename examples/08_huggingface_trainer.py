"""A run of transformers' Trainer, watched: a ResNet of the library, converted to PReLU, and one callback."""

import tempfile
from pathlib import Path

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from transformers import ResNetConfig, ResNetForImageClassification, Trainer, TrainingArguments

import slopewise as sw
from slopewise.monitor import read_recording
from slopewise.monitor.huggingface import WatchCallback
from slopewise.monitor.sinks import JsonLines

torch.manual_seed(0)
digits = load_digits()
images = F.interpolate(torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16, size=16)
data = [{"pixel_values": x, "labels": int(y)} for x, y in zip(images, digits.target, strict=True)]
folder = Path(tempfile.mkdtemp(prefix="slopewise-"))

# Nothing is downloaded: the network begins at random weights.
config = ResNetConfig(
    num_channels=1, embedding_size=16, hidden_sizes=[16, 32], depths=[1, 1], layer_type="basic", num_labels=10
)
network = sw.convert(ResNetForImageClassification(config), images[:8]).model

callback = WatchCallback(every=10, sinks=[JsonLines(folder / "run.jsonl")])
trainer = Trainer(
    network,
    TrainingArguments(
        output_dir=str(folder),
        max_steps=60,
        per_device_train_batch_size=32,
        learning_rate=0.01,
        report_to="tensorboard",
        save_strategy="no",
        logging_steps=20,
        disable_tqdm=True,
        use_cpu=True,
        dataloader_pin_memory=False,
        seed=0,
    ),
    train_dataset=data,
    optimizers=(torch.optim.AdamW(sw.param_groups(network, lr=0.01, weight_decay=0.01)), None),
    callbacks=[callback],
)
trainer.train()

monitor = callback.monitor
print(monitor.summary())
print(f"optimizer steps: {monitor.step}")
print(f"steps sampled: {[sample.step for sample in monitor.samples]}")
print(f"activations seen: {[site.site for site in monitor.samples[-1].sites]}")
print(f"alarms raised: {[str(alarm) for alarm in monitor.alarms]}")
print(f"read back from the file: {read_recording(folder / 'run.jsonl').samples == monitor.samples}")

monitor.report(folder / "watch.html")
print(f"\nthe run as a page: {folder / 'watch.html'}")
print(f"in TensorBoard: tensorboard --logdir {folder / 'runs'}")
