"""Lightning's Trainer: a LightningModule on scikit-learn's digits, with workers that load the data."""

import lightning.pytorch as pl
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split


class Digits(pl.LightningModule):
    def __init__(self, lr):
        super().__init__()
        self.lr = lr
        self.block1 = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU())
        self.block2 = nn.Sequential(nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.BatchNorm2d(32), nn.ReLU())
        self.head = nn.Linear(32, 10)

    def forward(self, x):
        return self.head(self.block2(self.block1(x)).mean((2, 3)))

    def training_step(self, batch, index):
        loss = F.cross_entropy(self(batch[0]), batch[1])
        self.log("loss", loss)
        return loss

    def validation_step(self, batch, index):
        self.log("val_accuracy", (self(batch[0]).argmax(1) == batch[1]).float().mean())

    def on_validation_end(self):
        self.trial.log(self.global_step, **self.trainer.callback_metrics)

    def test_step(self, batch, index):
        self.log("accuracy", (self(batch[0]).argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self):
        return torch.optim.SGD(self.trial.param_groups(self, lr=self.lr, weight_decay=5e-4), momentum=0.9)


def digits():
    bunch = load_digits()
    data = TensorDataset(torch.tensor(bunch.images, dtype=torch.float32)[:, None] / 16, torch.tensor(bunch.target))
    return random_split(data, (0.6, 0.1, 0.3), generator=torch.Generator().manual_seed(0))  # the same in every run


def train(trial, epochs=3, lr=0.2):
    seed, folder = trial.seed, trial.folder
    pl.seed_everything(seed)
    fit, validation, test = digits()
    module = trial.apply(Digits(lr), fit[:2][0])
    trial.watch(module)
    module.trial = trial
    trainer = pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        default_root_dir=folder,
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        log_every_n_steps=10,
    )
    batches = DataLoader(fit, batch_size=64, shuffle=True, num_workers=2, persistent_workers=True)
    trainer.fit(module, batches, DataLoader(validation, batch_size=256))
    return trainer.test(module, DataLoader(test, batch_size=256))[0]
