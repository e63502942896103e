"""Parts of `calibration.py`: twins of ReLU, which differ from it only by rounding, and training with wrong labels."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from slopewise.study import TrialContext


class Twin(nn.Module):
    """ReLU whose output is scaled by a number near 1: a tiny difference, which training amplifies."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        """Return max(x, 0) * scale."""
        return torch.relu(x) * self.scale


def twin(_channels: int, number: int) -> nn.Module:
    """Return the twin with this number: even numbers scale up, odd numbers down, by number + 1 millionths."""
    return Twin(1 + (-1) ** number * (number + 1) * 1e-6)


def train_with_wrong_labels(trial: TrialContext, wrong: float = 0.2, epochs: int = 8) -> dict[str, float]:
    """Train a small network on the digits; in the arm "wrong", some training labels are random.

    Args:
        trial: Trial of the study.
        wrong: Fraction of the training labels that are drawn at random.
        epochs: Number of passes over the training images.

    Returns:
        Test accuracy in percent.
    """
    from sklearn.datasets import load_digits

    images, labels = (torch.tensor(array) for array in load_digits(return_X_y=True))
    images = images.float().view(-1, 1, 8, 8) / 16
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))  # one split for all trials
    train, test = order[:600], order[1000:]
    noise = torch.Generator().manual_seed(trial.seed)
    flipped = torch.rand(600, generator=noise) < wrong
    targets = labels[train].clone()
    if trial.arm == "wrong":
        targets[flipped] = torch.randint(0, 10, (int(flipped.sum()),), generator=noise)
    net = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(128, 10)
    )
    net = trial.apply(net, images[:2])
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    shuffle = torch.Generator().manual_seed(trial.seed)
    for _ in range(epochs):
        for batch in torch.randperm(600, generator=shuffle).split(50):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(images[train][batch]), targets[batch]).backward()
            optimizer.step()
    with torch.no_grad():
        return {"accuracy": 100 * float((net(images[test]).argmax(1) == labels[test]).float().mean())}
