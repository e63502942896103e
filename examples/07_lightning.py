"""A run of Lightning's Trainer, watched: one callback, and what is measured goes to the trainer's own loggers."""

import logging
import tempfile
from pathlib import Path

import lightning.pytorch as pl
import torch
import torch.nn.functional as F
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import slopewise as sw
from slopewise.monitor.lightning import WatchCallback


class Digits(pl.LightningModule):
    """A small CNN with a slope per channel, and one ReLU called as a function."""

    def __init__(self) -> None:
        super().__init__()
        self.block1 = sw.ConvBNPReLU(1, 16)
        self.block2 = sw.ConvBNPReLU(16, 32, stride=2)
        self.hidden = nn.Linear(32, 32)
        self.head = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of the ten digits."""
        x = self.block2(self.block1(x)).mean((2, 3))
        return self.head(F.relu(self.hidden(x)))

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:  # noqa: ARG002
        """The loss, logged beside what the monitor logs."""
        loss = F.cross_entropy(self(batch[0]), batch[1])
        self.log("loss", loss)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """No weight decay on slopes."""
        return torch.optim.SGD(sw.param_groups(self, lr=0.05, weight_decay=5e-4), momentum=0.9)


logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
torch.manual_seed(0)
digits = load_digits()
images, labels = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16, torch.tensor(digits.target)
batches = DataLoader(TensorDataset(images, labels), batch_size=64, shuffle=True)
folder = Path(tempfile.mkdtemp(prefix="slopewise-"))

callback = WatchCallback(every=10)
trainer = pl.Trainer(
    max_epochs=3,
    accelerator="cpu",
    callbacks=[callback],
    logger=[TensorBoardLogger(folder, name="digits"), CSVLogger(folder, name="table")],
    enable_progress_bar=False,
    enable_model_summary=False,
    enable_checkpointing=False,
    log_every_n_steps=10,
)
trainer.fit(Digits(), batches)

monitor = callback.monitor
print(monitor.summary())
print(f"optimizer steps: {monitor.step}")
print(f"steps sampled: {[sample.step for sample in monitor.samples]}")
print(f"activations seen: {[site.site for site in monitor.samples[-1].sites]}")
print(f"alarms raised: {[str(alarm) for alarm in monitor.alarms]}")

monitor.report(folder / "watch.html")
print(f"\nthe run as a page: {folder / 'watch.html'}")
print(f"in TensorBoard: tensorboard --logdir {folder / 'digits'}")
print(f"as a table: {Path(trainer.loggers[1].log_dir, 'metrics.csv')}")
