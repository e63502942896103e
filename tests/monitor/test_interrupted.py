"""Passes that Ctrl-C breaks off, after which PyTorch calls no hook."""

import pytest
import torch
from torch import nn
from torch.overrides import _get_current_function_mode
from torch.utils.checkpoint import checkpoint

import slopewise as sw

X = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))


class Interrupting(nn.Module):
    """An activation, in a call of which the user presses Ctrl-C."""

    def __init__(self, call):
        super().__init__()
        self.act, self.call, self.calls = nn.PReLU(8), call, 0

    def forward(self, x):
        self.calls += 1
        if self.calls == self.call:
            raise KeyboardInterrupt
        return self.act(x)


class Net(nn.Module):
    """Its block is computed again in the backward pass, if `again` is True."""

    def __init__(self, block, *, again=False):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.block, self.head, self.again = nn.Linear(4, 8), block, nn.Linear(8, 1), again

    def forward(self, x):
        y = self.first(x)
        return self.head(checkpoint(self.block, y, use_reentrant=False) if self.again else self.block(y))


def watched(model, passes=1, *, interrupted=False, activations=()):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    monitor = sw.Monitor(model, every=1, activations=activations).start()
    if interrupted:
        with pytest.raises(KeyboardInterrupt):
            model(X).sum().backward()
        model.zero_grad()
    for _ in range(passes):
        model(X).sum().backward()
    optimizer.step()
    monitor.close()
    return monitor.samples[0]


@pytest.mark.parametrize("custom", [True, False])  # an activation pauses the mode that looks at functions
def test_the_pass_after_an_interrupted_one_is_counted(custom):
    block = Interrupting(1)
    sample = watched(Net(block), passes=2, interrupted=True, activations=[block] if custom else [])
    assert _get_current_function_mode() is None
    assert sample.passes == 3
    site = sample.sites[0]
    assert (site.site, site.values) == ("block" if custom else "block.act", 24 if custom else 16)
    assert len(sample.sites) == 1


@pytest.mark.parametrize("custom", [True, False])
def test_a_backward_pass_that_is_interrupted_where_it_computes_again_leaves_nothing_behind(custom):
    block = Interrupting(2)
    model = Net(block, again=True)
    expected = watched(Net(Interrupting(0), again=True), passes=2).sites[0]
    sample = watched(model, passes=1, interrupted=True, activations=[block] if custom else [])
    assert _get_current_function_mode() is None
    assert (sample.passes, sample.sites[0].values) == (2, expected.values)


class Recursive(nn.Module):
    """Its forward pass calls the model itself."""

    def __init__(self):
        super().__init__()
        self.layer, self.act = nn.Linear(4, 4), nn.ReLU()

    def forward(self, x, depth=2):
        y = self.act(self.layer(x))
        return self(y, depth - 1) if depth else y


def test_a_model_that_calls_itself_makes_one_pass():
    sample = watched(Recursive())
    assert sample.passes == 1
    assert [site.site for site in sample.sites] == ["act", "act (2)", "act (3)"]
