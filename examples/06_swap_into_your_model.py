"""PReLU in a network that you have: from its checkpoint, through fine-tuning, to a file for deployment.

docs/convert.md step by step. The network is an ordinary one, which knows nothing of slopewise: its blocks call F.relu
and apply one nn.ReLU at two places. Its checkpoint is made here, by a short training on the digits of scikit-learn.
"""

import tempfile
from pathlib import Path

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn

import slopewise as sw


class Block(nn.Module):
    """Two convolutions beside a shortcut, and one ReLU for both."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """The second ReLU follows the sum."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += x
        return self.relu(out)


class Net(nn.Module):
    """A stem, two blocks and two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 16, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(16)
        self.blocks = nn.Sequential(Block(16), Block(16))
        self.hidden = nn.Linear(16, 32)
        self.head = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of the ten digits."""
        x = self.blocks(F.relu(self.norm(self.stem(x))))
        return self.head(F.relu(self.hidden(x.mean((2, 3)))))


def train(net: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> list[float]:
    net.train()
    losses = []
    for step in range(steps):
        batch = slice(64 * step % 1280, 64 * step % 1280 + 64)
        optimizer.zero_grad()
        loss = F.cross_entropy(net(images[batch]), labels[batch])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def accuracy(net: nn.Module) -> float:
    with torch.no_grad():
        return (net.eval()(images[1280:]).argmax(1) == labels[1280:]).double().mean().item()


def slopes(net: nn.Module) -> list[float]:
    return torch.cat([slope.detach().flatten() for slope in sw.param_groups(net, lr=1.0).layers.values()]).tolist()


torch.manual_seed(0)
digits = load_digits()
images, labels = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16, torch.tensor(digits.target)

with tempfile.TemporaryDirectory() as folder:
    # A pretrained checkpoint, as one has it.
    net = Net()
    train(net, torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9), 120)
    torch.save(net.state_dict(), Path(folder, "pretrained.pt"))

    # Convert. With slopes of 0 the function stays the same; the table has the evidence.
    conversion = sw.convert(Net(), images[:16], init=0.0)
    conversion.load_state_dict(torch.load(Path(folder, "pretrained.pt"), weights_only=True))
    model = conversion.model
    print(conversion)
    print(f"accuracy as given and converted: {[round(accuracy(net), 4), round(accuracy(model), 4)]}")

    # Fine-tune. Slopes wait for 5 steps and warm up over 5.
    groups = sw.param_groups(model, lr=0.01, weight_decay=5e-4)
    optimizer = torch.optim.SGD(groups, momentum=0.9)
    sw.SlopeSchedule(optimizer, freeze=5, warmup=5)
    print(groups)
    before = slopes(model)
    losses = train(model, optimizer, 30)
    print(f"slopes before, least and greatest: {[min(before), max(before)]}")
    print(f"slopes after, least and greatest: {[round(min(slopes(model)), 4), round(max(slopes(model)), 4)]}")
    print(f"loss before and after: {[round(losses[0], 4), round(losses[-1], 4)]}")
    torch.save(model.state_dict(), Path(folder, "finetuned.pt"))

    # Less kept for the backward pass: batch normalisation, residual and PReLU are one layer, which keeps its output
    # in the place of its input. That takes slopes that can be divided by, not 0.
    fused = sw.convert(net, images[:16], init=0.01, fuse=True)
    print("\n" + str(fused))
    train(fused.model, torch.optim.SGD(sw.param_groups(fused.model, lr=0.02), momentum=0.9), 10)

    # Deploy: the checkpoint into a model converted the same way, folded, and exported.
    model = sw.convert(Net(), images[:16], init=0.0).model
    model.load_state_dict(torch.load(Path(folder, "finetuned.pt"), weights_only=True))
    folding = sw.fold(model, images[:256])
    print("\n" + str(folding))
    print(f"accuracy fine-tuned and folded: {[round(accuracy(model), 4), round(accuracy(folding.model), 4)]}\n")
    print(sw.export_model(folding.model, images[:16], Path(folder, "net.onnx")))
