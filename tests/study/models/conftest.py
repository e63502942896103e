"""A practitioner's own network, and one trial of it."""

from collections.abc import Callable, Iterator

import pytest
import torch

from slopewise.study.engines import Engine
from slopewise.testing import InProcessEngine

# Every trap of a hand-written swap: a function, one module at two places, in place on what is read again.
OWN = """
import torch
import torch.nn.functional as F
from torch import nn


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.norm2 = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        branch = self.relu(self.norm1(self.conv1(x)))
        return self.relu(self.norm2(self.conv2(branch)) + x)


class Net(nn.Module):
    def __init__(self, num_classes, in_channels=1, width=4, activation="relu"):
        super().__init__()
        self.stem = nn.Conv2d(in_channels, width, 3, stride=2, padding=1)
        self.block = Block(width)
        self.fc = nn.Linear(width, num_classes)

    def forward(self, x):
        return self.fc(self.block(F.relu(self.stem(x))).mean((2, 3)))


def net(num_classes, in_channels): return Net(num_classes, in_channels)
"""


@pytest.fixture
def own(user_module: Callable[[str, str], str]) -> str:
    """The name of a module with an ordinary network."""
    return user_module("own_net", OWN)


@pytest.fixture
def in_process() -> Engine:
    return InProcessEngine()


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """For networks this small, threads on a busy machine do little but wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
