"""int8: by ONNX Runtime from an exported file, and by PyTorch's own graph mode; and what PyTorch gets wrong."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

import slopewise as sw
from slopewise.export import ExportError, export_model, quantize_onnx
from slopewise.nn import BatchNormPReLU


class Net(nn.Module):
    """A residual net of fused layers, with slopes per channel, shared or, as a ReLU net, fixed at 0."""

    def __init__(self, kind):
        super().__init__()
        count = 8 if kind == "per channel" else 1
        self.stem, self.a, self.b = (sw.ConvBNPReLU(inner, 8, num_parameters=count) for inner in (3, 8, 8))
        if kind == "relu":
            for block in (self.stem, self.a, self.b):
                block.bn = sw.BatchNormPReLU2d(8, num_parameters=1, init=0.0, learnable=False)
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        x = self.stem(x)
        return self.head(self.b(self.a(x), x).mean((2, 3)))


def batches(count=8):
    generator = torch.Generator().manual_seed(3)
    return [torch.randn(16, 3, 8, 8, generator=generator) for _ in range(count)]


def decibels(ours, theirs):
    ours, theirs = ours.double().numpy(), theirs.double().numpy()
    return 10 * np.log10((ours**2).sum() / ((ours - theirs) ** 2).sum())


@pytest.fixture
def exported(tmp_path, settled):
    def export(kind):
        model = settled(Net(kind), *((0.0, 1e-9) if kind == "relu" else (-0.2, 0.5)))
        export_model(model, batches()[0], tmp_path / "net.onnx")
        return model, tmp_path / "net.onnx"

    return export


@pytest.mark.parametrize("symmetric", [False, True])
def test_slopes_stay_in_float_and_weights_become_int8(symmetric, exported, tmp_path, graph, runtime):
    model, path = exported("per channel")
    before = path.read_bytes()
    report = quantize_onnx(path, batches(), tmp_path / "int8.onnx", symmetric=symmetric)
    assert path.read_bytes() == before
    assert sorted(one.name for one in tmp_path.iterdir()) == ["int8.onnx", "net.onnx"]
    floats, ints = graph(path), graph(tmp_path / "int8.onnx")
    assert ints.kinds.count("PRelu") == report.prelu_nodes == 3
    for one, other in zip(floats.slopes, ints.slopes, strict=True):
        np.testing.assert_array_equal(one, other)
    weights = [ints.constants[node.input[0]] for node in ints.nodes if node.input[0] in ints.constants]
    weights = [constant for constant in weights if constant.ndim == 4]
    assert [weight.dtype for weight in weights] == [np.int8] * 3
    scales = [ints.constants[node.input[1]] for node in ints.nodes if node.op_type == "QuantizeLinear"]
    zeros = [ints.constants[node.input[2]] for node in ints.nodes if node.op_type == "QuantizeLinear"]
    assert all(scale.ndim == 0 for scale in scales)
    assert all(zero == 0 for zero in zeros) == symmetric
    x = torch.cat(batches())
    (theirs,) = runtime(tmp_path / "int8.onnx", x)
    with torch.no_grad():
        assert report.sqnr["output"] == pytest.approx(decibels(model(x), theirs), abs=0.01)
    assert report.samples == len(x)
    assert str(report).splitlines()[1] == "  PReLU   3 nodes, slopes in float"
    assert f"signal to noise {report.sqnr['output']:.1f} dB" in str(report)


def test_no_worse_than_relu_by_more_than_eight_decibels(exported, tmp_path):
    # Six decibels are one of the eight bits. PReLU's outputs have two signs, so that their steps are wider; the other
    # two are for processors without VNNI, where sums of products saturate.
    noise = {}
    for kind in ("relu", "shared", "per channel"):
        _, path = exported(kind)
        noise[kind] = quantize_onnx(path, batches(), tmp_path / "int8.onnx").sqnr["output"]
    assert min(noise.values()) > 20
    assert min(noise["shared"], noise["per channel"]) > noise["relu"] - 8


def test_several_inputs_by_name_or_place(tmp_path):
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.act = nn.Conv2d(3, 4, 3, padding=1), sw.PReLU(4)

        def forward(self, picture, residual):
            return self.act(self.conv(picture) + residual)

    data = [(x, torch.randn(16, 4, 8, 8)) for x in batches(2)]
    export_model(Two(), data[0], tmp_path / "a.onnx")
    by_place = quantize_onnx(tmp_path / "a.onnx", data, tmp_path / "b.onnx")
    named = [{"residual": residual, "picture": picture} for picture, residual in data]
    assert quantize_onnx(tmp_path / "a.onnx", named, tmp_path / "c.onnx").sqnr == by_place.sqnr
    with pytest.raises(ExportError, match="has the inputs picture, and the file picture, residual"):
        quantize_onnx(tmp_path / "a.onnx", [{"picture": data[0][0]}], tmp_path / "d.onnx")
    with pytest.raises(ExportError, match="calibration has no batch"):
        quantize_onnx(tmp_path / "a.onnx", [], tmp_path / "d.onnx")
    assert not (tmp_path / "d.onnx").exists()


def unfused(model):
    """The recipe of docs/export.md."""
    model = copy.deepcopy(model)
    for name, module in list(model.named_modules()):
        if isinstance(module, BatchNormPReLU):
            model.set_submodule(name, module.unfuse())
    return model


graph_mode = pytest.mark.filterwarnings(
    "ignore"
)  # torch.ao.quantization is deprecated, and still the way without torchao


def quantised_by_graph_mode(model):
    from torch.ao.quantization import get_default_qconfig_mapping
    from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx

    prepared = prepare_fx(model, get_default_qconfig_mapping("x86"), (batches()[0],))
    with torch.no_grad():
        for batch in batches():
            prepared(batch)
        return convert_fx(prepared)


@graph_mode
@pytest.mark.slow
@pytest.mark.skipif("x86" not in torch.backends.quantized.supported_engines, reason="no int8 kernels of PyTorch here")
@pytest.mark.parametrize("kind", ["shared", "per channel"])
def test_graph_mode_keeps_slopes_in_float(kind, settled):
    model = settled(Net(kind), -0.2, 0.5)
    x = torch.cat(batches())
    with torch.no_grad():
        expected = model(x)
        fused, pair = quantised_by_graph_mode(copy.deepcopy(model)), quantised_by_graph_mode(unfused(model))
        assert decibels(expected, fused(x)) > 20
        assert decibels(expected, pair(x)) > 20
    names = [type(module).__name__ for module in pair.modules()]
    assert names.count("Conv2d") == 3  # the quantised ones: batch normalisation is folded into them
    assert "BatchNorm2d" not in names
    assert "QuantizedPReLU" not in names


@graph_mode
def test_eager_mode_refuses_fused_layers_and_says_what_to_do():
    from torch.ao.quantization import get_default_qconfig, prepare

    model = Net("per channel").eval()
    model.qconfig = get_default_qconfig("x86")
    with pytest.raises(RuntimeError, match=r"unfuse\(\)"):
        prepare(model)


@pytest.mark.xfail(reason="PyTorch 2.13: positive inputs are multiplied by min(1, the greatest slope)")
def test_pytorchs_own_int8_prelu_leaves_positive_inputs_alone():
    # When this passes, PyTorch has mended it: then say so in docs/export.md.
    x = torch.quantize_per_tensor(torch.tensor([[1.0, -1.0]]), 0.04, 100, torch.quint8)
    slope = torch.quantize_per_tensor(torch.tensor([0.25]), 0.25 / 255, 0, torch.quint8)
    y = torch.ops.quantized.prelu(x, slope, 0.02, 100).dequantize()
    torch.testing.assert_close(y, torch.tensor([[1.0, -0.25]]), rtol=0, atol=0.02)
