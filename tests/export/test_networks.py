"""Whole networks: fused layers, residuals. Libraries' networks are exported in the tests of conversion."""

import pytest
import torch
from torch import nn

import slopewise as sw
from slopewise.export import export_model

ALLOWED = {"Conv", "BatchNormalization", "Add", "PRelu", "MaxPool", "GlobalAveragePool", "Flatten", "Reshape", "Gemm"}


class Residual(nn.Module):
    """Every fused way to the operators: block, block with residual, normalisation alone, frozen slopes, bounds."""

    def __init__(self):
        super().__init__()
        self.stem = sw.ConvBNPReLU(3, 8, num_parameters=1)
        self.first = sw.ConvBNPReLU(8, 8, low_memory=True)
        self.second = sw.ConvBNPReLU(8, 8, bounds=(-0.25, 0.5))
        self.norm = sw.BatchNormPReLU2d(8, init=0.1, learnable=False)
        self.head = nn.Linear(8, 4)
        self.act = sw.PReLU(4)

    def forward(self, x):
        x = self.stem(x)
        x = self.second(self.first(x), x)
        return self.act(self.head(self.norm(x).mean((2, 3))))


def same(path, model, runtime, *inputs):
    """Parity measured here, not by the package: relative to the greatest magnitude of each output."""
    with torch.no_grad():
        ours = model(*inputs)
    theirs = runtime(path, *inputs)[0]
    assert theirs.shape == ours.shape
    assert (theirs - ours).abs().max() <= 1e-5 * ours.abs().max()


def test_fused_layers_and_residuals(tmp_path, graph, runtime, settled):
    model = settled(Residual())
    report = export_model(model, torch.randn(4, 3, 8, 8), tmp_path / "a.onnx")
    seen = graph(tmp_path / "a.onnx")
    assert set(seen.kinds) <= ALLOWED
    assert seen.domains == {""}
    assert seen.functions == []
    assert b"slopewise" not in seen.text.replace(b"slopewise.", b"")  # but in the names of classes
    assert seen.kinds.count("PRelu") == report.prelu_nodes == 5
    assert [slope.shape for slope in seen.slopes] == [(1, 1, 1, 1), (1, 8, 1, 1), (1, 8, 1, 1), (1, 8, 1, 1), (1, 4)]
    assert report.slopes["second.bn.slope"] == (1, 8, 1, 1)
    assert -0.25 <= seen.constants["second.bn.slope"].min() <= seen.constants["second.bn.slope"].max() <= 0.5
    for batch in (1, 4, 9):
        same(tmp_path / "a.onnx", model, runtime, torch.randn(batch, 3, 8, 8))


@pytest.mark.parametrize(
    ("layer", "shape"),
    [(sw.BatchNormPReLU1d, (4, 3)), (sw.BatchNormPReLU1d, (4, 3, 6)), (sw.BatchNormPReLU3d, (4, 3, 2, 3, 4))],
)
def test_normalisation_of_other_ranks_with_a_residual(layer, shape, tmp_path, graph, runtime, settled):
    model = settled(layer(3))
    x, residual = torch.randn(shape), torch.randn(shape)
    export_model(model, (x, residual), tmp_path / "a.onnx")
    seen = graph(tmp_path / "a.onnx")
    assert seen.kinds == ["BatchNormalization", "Add", "PRelu"]
    assert seen.inputs == {"input": ["batch", *shape[1:]], "residual": ["batch", *shape[1:]]}
    for batch in (1, 7):
        same(tmp_path / "a.onnx", model, runtime, torch.randn(batch, *shape[1:]), torch.randn(batch, *shape[1:]))
