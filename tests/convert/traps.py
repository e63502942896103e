"""Hand-written networks, each with a trap for a conversion."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


def conv(a, b):
    return nn.Conv2d(a, b, 3, padding=1)


class ReusedModule(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2, self.relu = conv(3, 4), conv(4, 6), nn.ReLU(inplace=True)

    def forward(self, x):
        return self.relu(self.conv2(self.relu(self.conv1(x))))


class Functional(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2, self.conv3 = conv(3, 4), conv(4, 4), conv(4, 4)

    def forward(self, x):
        x = F.relu(self.conv1(x), inplace=True)
        x = torch.relu(input=self.conv2(x))
        return self.conv3(x).relu_()


class InPlaceOnResidual(nn.Module):
    """The shortcut is read after the in-place activation, and so is its output."""

    def __init__(self):
        super().__init__()
        self.stem, self.act, self.conv = conv(3, 4), nn.ReLU(inplace=True), conv(4, 4)

    def forward(self, x):
        x = self.stem(x)
        return x + self.conv(self.act(x))


class InPlaceOnArgument(nn.Module):
    """A block changes its argument, which its caller uses."""

    def __init__(self):
        super().__init__()
        self.stem, self.block = conv(3, 4), nn.Sequential(nn.ReLU(inplace=True), conv(4, 4))

    def forward(self, x):
        x = self.stem(x)
        return self.block(x) + x


class OnSlice(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = conv(3, 8)

    def forward(self, x):
        x = self.conv(x)
        return torch.cat([F.relu(x[:, :5]), x[:, 5:]], dim=1)


class InPlaceOnSlice(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = conv(3, 8)

    def forward(self, x):
        x = self.conv(x)
        x[:, :5].relu_()
        return x


class ControlFlow(nn.Module):
    """Depends on values: torch.fx cannot trace it."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2, self.relu = conv(3, 4), conv(4, 4), nn.ReLU()

    def forward(self, x):
        x = self.relu(self.conv1(x))
        if x.mean() > -1e9:
            x = F.relu(self.conv2(x))
        return self.relu(x - 0.5)


class Loop(nn.Module):
    def __init__(self):
        super().__init__()
        self.convs = nn.ModuleList([conv(3, 4), conv(4, 6), conv(6, 4)])

    def forward(self, x):
        for layer in self.convs:
            x = F.relu(layer(x))
        return x


def rectified(x):
    return F.relu(x)


class Helper(nn.Module):
    """The activation is applied in a function that several places call."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = conv(3, 4), conv(4, 6)

    def forward(self, x):
        return rectified(self.conv2(rectified(self.conv1(x))))


class TrainingFlag(nn.Module):
    """Its training flag, which torch.fx would freeze, makes another pass in training."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = conv(3, 4), conv(4, 4)

    def forward(self, x):
        x = F.dropout(F.relu(self.conv1(x)), 0.5, training=self.training)
        return F.relu(self.conv2(x))


class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        self.up, self.down = nn.Linear(6, 12), nn.Linear(12, 6)

    def forward(self, x):
        return x + self.down(F.relu(self.up(x)))


class Tokenised(nn.Module):
    """(N, C, H, W) to tokens (N, H·W, C) and back."""

    def __init__(self):
        super().__init__()
        self.conv, self.mix, self.act = conv(3, 5), nn.Linear(5, 5), nn.ReLU()

    def forward(self, x):
        x = self.conv(x)
        tokens = self.act(x.flatten(2).transpose(1, 2))
        return F.relu(self.mix(tokens).mT.reshape(x.shape))


class TasNet(nn.Module):
    """1-D, like the separator of Conv-TasNet."""

    def __init__(self):
        super().__init__()
        self.norm = nn.GroupNorm(1, 8)
        self.depth = nn.Conv1d(8, 8, 3, padding=2, dilation=2, groups=8)
        self.inner, self.outer, self.mask = nn.Conv1d(4, 8, 1), nn.Conv1d(8, 4, 1), nn.ReLU()

    def forward(self, x):
        return x * self.mask(self.outer(self.norm(F.relu(self.depth(F.relu(self.inner(x)))))))


class Volumes(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.bn, self.act = nn.Conv3d(1, 4, 3), nn.BatchNorm3d(4), nn.ReLU()

    def forward(self, x):
        return self.act(self.bn(self.conv(x)))


class TiedBlocks(nn.Module):
    """A block that is applied three times shares its weights, and its slopes with them."""

    def __init__(self):
        super().__init__()
        self.stem, self.block = conv(3, 4), nn.Sequential(conv(4, 4), nn.ReLU())

    def forward(self, x):
        x = self.stem(x)
        for _ in range(3):
            x = x + self.block(x)
        return x


class ReusedHead(nn.Module):
    """A block without parameters is a mere function: each place of it gets slopes of its own."""

    def __init__(self):
        super().__init__()
        self.post = nn.Sequential(nn.ReLU(), nn.MaxPool2d(2))
        self.conv1, self.conv2 = conv(3, 4), conv(4, 6)

    def forward(self, x):
        return self.post(self.conv2(self.post(self.conv1(x))))


class OneForAll(nn.Module):
    """One activation object that every block holds."""

    def __init__(self):
        super().__init__()
        act = nn.ReLU(inplace=True)
        self.a, self.b = nn.Sequential(conv(3, 4), act), nn.Sequential(conv(4, 6), act, conv(6, 6), act)

    def forward(self, x):
        return self.b(self.a(x))


class Subclass(nn.Sequential):
    def __init__(self):
        act = nn.ReLU()
        super().__init__(conv(3, 4), act, conv(4, 6), act)


class SubclassWithForward(nn.Sequential):
    def __init__(self):
        super().__init__(conv(3, 4), nn.ReLU())

    def forward(self, x):
        return F.relu(super().forward(x) - 1.0) + 1.0


class Unregistered(nn.Module):
    """Its activations are in a plain list, where PyTorch does not see them."""

    def __init__(self):
        super().__init__()
        self.acts, self.conv1, self.conv2 = [nn.ReLU(), nn.ReLU(inplace=True)], conv(3, 4), conv(4, 4)

    def forward(self, x, *, scale=1.0):
        return self.acts[1](self.conv2(self.acts[0](self.conv1(x)) * scale))


class OwnActivation(nn.Module):
    """A class of one's own that does nothing but apply ReLU, in a method of the network other than forward."""

    class Act(nn.Module):
        def forward(self, x):
            return F.relu(x)

    def __init__(self):
        super().__init__()
        self.act, self.conv1, self.conv2 = self.Act(), conv(3, 4), conv(4, 4)

    def features(self, x):
        return self.act(self.conv1(x))

    def forward(self, x):
        return {"features": self.features(x), "out": [self.conv2(self.features(x)).relu()]}


class Nested(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = conv(3, 4)

    def forward(self, x):
        return F.relu(F.relu(self.conv(x)) - 0.1)


IMAGES = (2, 3, 6, 6)
# The network, the shape of its input, and for each call site the channels that are seen there.
TRAPS = {
    ReusedModule: (IMAGES, [4, 6]),
    Functional: (IMAGES, [4, 4, 4]),
    InPlaceOnResidual: (IMAGES, [4]),
    InPlaceOnArgument: (IMAGES, [4]),
    OnSlice: (IMAGES, [5]),
    InPlaceOnSlice: (IMAGES, [5]),
    ControlFlow: (IMAGES, [4, 4, 4]),
    Loop: (IMAGES, [4, 6, 4]),
    Helper: (IMAGES, [4, 6]),
    TrainingFlag: (IMAGES, [4, 4]),
    Tokens: ((2, 7, 6), [12]),
    Tokenised: (IMAGES, [5, 5]),
    TasNet: ((2, 4, 20), [8, 8, 4]),
    Volumes: ((2, 1, 5, 5, 5), [4]),
    TiedBlocks: (IMAGES, [4]),
    ReusedHead: ((2, 3, 8, 8), [4, 6]),
    OneForAll: (IMAGES, [4, 6, 6]),
    Subclass: (IMAGES, [4, 6]),
    SubclassWithForward: (IMAGES, [4, 4]),
    Unregistered: (IMAGES, [4, 4]),
    OwnActivation: (IMAGES, [4, 4, 4]),
    Nested: (IMAGES, [4, 4]),
}
