"""The default study as one would write it by hand: DataLoader, nn.PReLU, one seed after another. No slopewise.

A competent script, not a straw man: data loaded once, images normalised once, evaluation without gradients in large
batches, each seed fixed. What it lacks beside slopewise: per-epoch measurements of units, slopes and gradients.
"""

from __future__ import annotations

import argparse
import math

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

ARMS = {
    "relu": lambda channels: nn.ReLU(),
    "leaky_relu": lambda channels: nn.LeakyReLU(0.01),
    "frozen_slope": lambda channels: nn.LeakyReLU(0.25),
    "prelu_shared": lambda channels: nn.PReLU(),
    "prelu_channel": nn.PReLU,
}


class Shifted(Dataset):
    """Images moved by up to one pixel, as an augmenting transform does it, one by one."""

    def __init__(self, images: torch.Tensor, labels: torch.Tensor) -> None:
        self.images, self.labels = images, labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        image = F.pad(self.images[index][None], (1, 1, 1, 1), mode="replicate")[0]
        top, left = torch.randint(0, 3, (2,)).tolist()
        return image[:, top : top + 8, left : left + 8], self.labels[index]


def cnn(activation, width: int = 16) -> nn.Sequential:
    layers, channels = [], 1
    for number, out in enumerate((width, width, 2 * width, 2 * width, 4 * width, 4 * width)):
        conv = nn.Conv2d(channels, out, 3, padding=1)
        nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
        nn.init.zeros_(conv.bias)
        layers += [conv, activation(out)] + ([nn.MaxPool2d(2)] if number in (1, 3) else [])
        channels = out
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10))


def accuracy(model: nn.Module, loader: DataLoader) -> float:
    model.eval()
    right = total = 0
    with torch.no_grad():
        for images, labels in loader:
            right += (model(images).argmax(dim=1) == labels).sum().item()
            total += len(labels)
    return right / total


def train(activation, seed: int, epochs: int, batch_size: int, lr: float, sets) -> float:
    torch.manual_seed(seed)
    train_set, validation_set, test_set = sets
    loader = DataLoader(train_set, batch_size, shuffle=True, drop_last=True)
    validation_loader, test_loader = (DataLoader(part, 512) for part in (validation_set, test_set))
    model = cnn(activation)
    slopes = [p for m in model.modules() if isinstance(m, nn.PReLU) for p in m.parameters()]
    weights = [p for m in model.modules() if isinstance(m, (nn.Conv2d, nn.Linear)) for p in m.parameters()]
    groups = [{"params": weights, "weight_decay": 5e-4}] + ([{"params": slopes, "weight_decay": 0.0}] if slopes else [])
    optimizer = torch.optim.SGD(groups, lr=lr, momentum=0.9, nesterov=True)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, lr, total_steps=epochs * len(loader), pct_start=0.25, cycle_momentum=False
    )
    for _ in range(epochs):
        model.train()
        for images, labels in loader:
            loss = F.cross_entropy(model(images), labels)
            if not math.isfinite(loss.item()):
                return 0.1
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
        accuracy(model, validation_loader)
    return accuracy(model, test_loader)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, required=True)
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--batch-size", type=int, required=True)
    parser.add_argument("--lr", type=float, required=True)
    arguments = parser.parse_args()
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32)[:, None]
    labels = torch.tensor(digits.target)
    images = (images - images.mean()) / images.std()
    rest, test = train_test_split(range(len(labels)), test_size=0.45, stratify=labels, random_state=0)
    kept, held_out = train_test_split(rest, test_size=0.15, stratify=labels[rest], random_state=0)
    sets = (
        Shifted(images[kept], labels[kept]),
        TensorDataset(images[held_out], labels[held_out]),
        TensorDataset(images[test], labels[test]),
    )
    for name, activation in ARMS.items():
        scores = [
            train(activation, seed, arguments.epochs, arguments.batch_size, arguments.lr, sets)
            for seed in range(arguments.seeds)
        ]
        print(f"{name:<14} {100 * sum(scores) / len(scores):.2f} %")


if __name__ == "__main__":
    main()
