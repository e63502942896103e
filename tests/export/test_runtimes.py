"""Exported files in other runtimes: OpenVINO and ncnn for real, the rest of the contract by a runtime of the test."""

import sys

import pytest
import torch
from torch import nn

import slopewise as sw
from slopewise.export import ExportError, ExportWarning, export_model
from slopewise.export.runtimes import RUNTIMES, Loaded, OpenVINO


class Net(nn.Module):
    """Layers in one call each, PyTorch's own PReLU among them."""

    def __init__(self):
        super().__init__()
        self.stem, self.act = nn.Conv2d(3, 6, 3, padding=1), nn.PReLU(6)
        self.mix, self.tokens = nn.Linear(6, 6), sw.PReLU(6, channel_dim=-1)
        self.head, self.last = nn.Linear(6, 4), nn.PReLU(4)

    def forward(self, x):
        x = self.act(self.stem(x))
        tokens = self.tokens(self.mix(x.flatten(2).mT))
        return self.last(self.head(x.mean((2, 3)))), tokens


def pictures(batch=2):
    return torch.randn(batch, 3, 2, 3)  # six places and six channels


def worst(report, runtime):
    return {one.batch: one.relative for one in report.parity if one.runtime == runtime}


def test_openvino_and_ncnn_agree_for_one_and_several_samples(tmp_path, settled, graph):
    report = export_model(
        settled(Net()), pictures(), tmp_path / "a.onnx", check_with=["openvino", "ncnn"], keep_transpositions=True
    )
    assert list(report.runtimes) == ["onnxruntime", "openvino", "ncnn"]
    for runtime in report.runtimes:
        assert worst(report, runtime).keys() == {2, 1, 3}
        assert max(worst(report, runtime).values()) < 1e-6
    assert [one.runtime for one in report.default_precision] == ["openvino"] * 3
    assert f"OpenVINO {report.runtimes['openvino']} against the model" in str(report)
    assert "GlobalAveragePool" in graph(tmp_path / "a.onnx").kinds


def test_a_fixed_batch_and_what_ncnn_computes_otherwise(tmp_path, settled):
    model = settled(Net())
    report = export_model(model, pictures(1), tmp_path / "a.onnx", dynamic_batch=False, check_with="openvino")
    assert worst(report, "openvino").keys() == {1}
    with pytest.raises(ExportError, match=r"in ncnn by .* pass keep_transpositions=True"):
        export_model(model, pictures(1), tmp_path / "b.onnx", dynamic_batch=False, check_with=["ncnn"])
    with pytest.raises(ExportError, match="ncnn computes one sample at a time, and the batch is fixed at 2"):
        export_model(model, pictures(2), tmp_path / "b.onnx", dynamic_batch=False, check_with=["ncnn"])
    assert [file.name for file in tmp_path.iterdir()] == ["a.onnx"]


def test_names_and_packages(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"check_with has 'TensorRT', in which files are not checked: docs/runtimes"):
        export_model(sw.PReLU(), pictures(), tmp_path / "a.onnx", check_with=["TensorRT"])
    with pytest.raises(ValueError, match=r"check_with has 'openvin': did you mean 'openvino'\? .*known: onnxruntime"):
        export_model(sw.PReLU(), pictures(), tmp_path / "a.onnx", check_with=["openvin"])
    monkeypatch.setitem(sys.modules, "litert_torch", None)
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    with pytest.raises(ModuleNotFoundError, match=r"'litert' needs .* pip install ai-edge-litert litert-torch"):
        export_model(sw.PReLU(), pictures(), tmp_path / "a.pt2", check_with=["litert"])
    assert list(tmp_path.iterdir()) == []


class Rough(OpenVINO):
    """PyTorch with a default precision of its own."""

    name, title, packages = "rough", "Rough", {"torch": "torch"}

    def load(self, exported):
        program = exported.program().module()
        return Loaded(lambda call: [program(*call.args)], lambda call: [1.4 * program(*call.args)])


def test_a_rough_default_precision_is_a_warning_and_no_refusal(tmp_path, monkeypatch):
    monkeypatch.setitem(RUNTIMES, "rough", Rough())
    with pytest.warns(ExportWarning, match="Rough is off by 40% on a batch of .*INFERENCE_PRECISION_HINT"):
        report = export_model(sw.PReLU(3), pictures(), tmp_path / "a.onnx", check_with=["rough"])
    assert max(worst(report, "rough").values()) < 1e-6
    assert "at the precision that Rough chooses by default" in str(report)


RANKS = [(3, 4), (3, 4, 5), (3, 4, 2, 5), (3, 4, 2, 3, 5)]


@pytest.mark.parametrize("shape", RANKS, ids=str)
@pytest.mark.parametrize("make", [nn.PReLU, lambda count: sw.PReLU(count, channel_dim=-1), lambda _: sw.PReLU()])
def test_a_program_computes_every_prelu_on_four_dimensions(make, shape, tmp_path, settled):
    model = settled(nn.Sequential(make(shape[-1] if make is not nn.PReLU else 4), nn.Identity()))
    export_model(model, torch.randn(shape), tmp_path / "a.pt2")
    program = torch.export.load(tmp_path / "a.pt2")
    given = [n.args[0].meta["val"].ndim for n in program.graph.nodes if n.target is torch.ops.aten.prelu.default]
    assert given == [4]
    x = torch.randn(7, *shape[1:])
    torch.testing.assert_close(program.module()(x), model(x), rtol=0, atol=0)
