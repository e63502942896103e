"""A plain training loop: a small CNN on scikit-learn's digits."""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split


def network():
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * 4 * 4, 10),
    )


def digits():
    bunch = load_digits()
    data = TensorDataset(torch.tensor(bunch.images, dtype=torch.float32)[:, None] / 16, torch.tensor(bunch.target))
    return random_split(data, (0.6, 0.1, 0.3), generator=torch.Generator().manual_seed(0))  # the same in every run


@torch.no_grad()
def accuracy(model, data):
    x, y = data[:]
    model.eval()
    correct = (model(x).argmax(1) == y).float().mean().item()
    model.train()
    return correct


def train(seed=0, epochs=4, lr=0.05):
    torch.manual_seed(seed)
    fit, validation, test = digits()
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9, weight_decay=5e-4)
    batches = DataLoader(fit, batch_size=64, shuffle=True)
    for epoch in range(1, epochs + 1):
        for x, y in batches:
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch}: loss {loss:.3f}, validation {accuracy(model, validation):.3f}")
    return {"accuracy": accuracy(model, test)}


if __name__ == "__main__":
    print(train())
