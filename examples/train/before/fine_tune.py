"""Fine-tuning of a checkpoint, resumed by a checkpoint of its own: digits 5 to 9, from a network that knows 0 to 4."""

from pathlib import Path

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1)
        self.conv2 = nn.Conv2d(16, 32, 3, stride=2, padding=1)
        self.head = nn.Linear(32, 5)

    def forward(self, x):
        return self.head(F.relu(self.conv2(F.relu(self.conv1(x)))).mean((2, 3)))


def digits(first):
    bunch = load_digits()
    chosen = (bunch.target >= first) & (bunch.target < first + 5)
    images, labels = torch.tensor(bunch.images[chosen], dtype=torch.float32), torch.tensor(bunch.target[chosen] - first)
    data = TensorDataset(images[:, None] / 16, labels)
    return random_split(data, (0.6, 0.1, 0.3), generator=torch.Generator().manual_seed(0))  # the same in every run


@torch.no_grad()
def accuracy(model, data):
    x, y = data[:]
    return (model(x).argmax(1) == y).float().mean().item()


def an_epoch(model, optimizer, batches):
    for x, y in batches:
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss


def pretrain(path):
    torch.manual_seed(0)
    model, (fit, *_) = Network(), digits(0)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(5):
        an_epoch(model, optimizer, DataLoader(fit, batch_size=64, shuffle=True))
    torch.save(model.state_dict(), path)


def train(seed=0, weights="digits-0-4.pt", folder="runs", epochs=6):
    torch.manual_seed(seed)
    fit, validation, test = digits(5)
    model = Network()
    model.load_state_dict(torch.load(weights))
    model.head.reset_parameters()  # other classes
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    last, done = Path(folder) / f"seed-{seed}.pt", 0
    if last.exists():
        state = torch.load(last)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        done = state["epoch"]
        print(f"goes on after epoch {done}")
    for epoch in range(done + 1, epochs + 1):
        order = torch.Generator().manual_seed(1000 * seed + epoch)  # whether the run was resumed or not
        batches = DataLoader(fit, batch_size=64, shuffle=True, generator=order)
        loss = an_epoch(model, optimizer, batches)
        print(f"epoch {epoch}: loss {loss:.3f}, validation {accuracy(model, validation):.3f}")
        state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch}
        torch.save(state, last.with_suffix(".new"))
        last.with_suffix(".new").replace(last)  # never half a file, whenever the process is killed
    return {"accuracy": accuracy(model, test)}


if __name__ == "__main__":
    if not Path("digits-0-4.pt").exists():
        pretrain("digits-0-4.pt")
    print(train())
