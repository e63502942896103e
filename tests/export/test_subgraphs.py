"""PReLUs inside autocast, no_grad, conditions and checkpoints, whose operations torch.export puts into subgraphs."""

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import slopewise as sw

X = torch.randn(2, 3, 6, generator=torch.Generator().manual_seed(0))
PRELU = torch.ops.aten.prelu.default


class Net(nn.Module):
    """A PReLU per channel, and a shared one within some context, both on three dimensions."""

    def __init__(self, context):
        super().__init__()
        self.context, self.conv, self.outer, self.inner = context, nn.Conv1d(3, 4, 3), nn.PReLU(4), nn.PReLU(init=0.5)

    def body(self, x):
        return self.inner(self.conv(x)) - 1.0

    def forward(self, x):
        return self.outer(self.context(self.body, x)) * 2.0


def autocast(body, x):
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=False):
        y = body(x)
        with torch.no_grad():
            z = body(x)
        return y + z


def condition(body, x):
    return torch.cond(x.sum() > 100.0, lambda x: body(x).neg(), body, (x,))


def checkpointed(body, x):
    return checkpoint(body, x, use_reentrant=False) + body(x)


@pytest.mark.parametrize("context", [autocast, condition, checkpointed])
def test_calls_in_subgraphs_are_counted_and_named_and_get_four_dimensions(context, tmp_path):
    report = sw.export_model(Net(context).eval(), X, tmp_path / "net.pt2", dynamic_batch=False)
    assert report.prelu_nodes == 3
    assert report.slopes == {"inner.weight": (1,), "outer.weight": (4,)}
    module = torch.export.load(tmp_path / "net.pt2").graph_module
    graphs = [part.graph for part in module.modules() if isinstance(part, torch.fx.GraphModule)]
    assert len(graphs) > 1 or context is checkpointed  # which PyTorch 2.13 writes out
    calls = [node for graph in graphs for node in graph.nodes if node.target is PRELU]
    assert [node.meta["val"].ndim for node in calls] == [4, 4, 4]
