"""The slopes of exported graphs: one PRelu a site, constants of the shapes that runtimes take, right values."""

import numpy as np
import pytest
import torch
from torch import nn

import slopewise as sw
from slopewise.export import export_model

C = 5
SHAPES = {
    "(N, C)": ((3, C), (1, C)),
    "(N, C, L)": ((3, C, 7), (1, C, 1)),
    "(N, C, H, W)": ((3, C, 4, 6), (1, C, 1, 1)),
    "(N, C, D, H, W)": ((3, C, 2, 4, 3), (1, C, 1, 1, 1)),
}
SLOPES = {
    "mixed": [-0.5, 0.0, 0.25, 1.0, 2.5],
    "zero": [0.0] * C,
    "negative": [-1.5, -0.1, -0.25, -3.0, -0.5],
    "above one": [1.5, 2.0, 10.0, 1.01, 3.0],
}


def expected(x, slopes, axis):
    """max(x, 0) + a·min(x, 0), in float64 by numpy."""
    shape = [1] * x.ndim
    shape[axis] = len(slopes)
    x, a = x.double().numpy(), np.reshape(np.asarray(slopes, dtype=np.float64), shape)
    return torch.from_numpy(np.maximum(x, 0) + a * np.minimum(x, 0))


EACH_SHAPE = [(name, "mixed") for name in SHAPES]
EACH_SIGN = [("(N, C, H, W)", name) for name in SLOPES if name != "mixed"]


@pytest.mark.parametrize(("place", "kind"), EACH_SHAPE + EACH_SIGN)
def test_one_slope_per_channel(place, kind, tmp_path, graph, runtime):
    (shape, in_onnx), slopes = SHAPES[place], SLOPES[kind]
    report = export_model(sw.PReLU(C, init=slopes), torch.randn(shape), tmp_path / "a.onnx")
    seen = graph(tmp_path / "a.onnx")
    assert seen.kinds == ["PRelu"]
    assert seen.inputs == {"input": ["batch", *shape[1:]]}
    assert seen.outputs == {"output": ["batch", *shape[1:]]}
    (constant,) = seen.slopes
    assert constant.shape == in_onnx
    assert constant.ravel().tolist() == pytest.approx(slopes)
    assert report.slopes == {"weight": in_onnx}
    for batch in (1, 3, 8):
        x = torch.randn(batch, *shape[1:])
        (y,) = runtime(tmp_path / "a.onnx", x)
        torch.testing.assert_close(y.double(), expected(x, slopes, 1), rtol=1e-6, atol=0)


@pytest.mark.parametrize("shape", [(3, 5), (3, 5, 4, 6)])
def test_a_shared_slope_has_one_element_in_every_rank(shape, tmp_path, graph, runtime):
    export_model(sw.PReLU(init=-0.75), torch.randn(shape), tmp_path / "a.onnx")
    (constant,) = graph(tmp_path / "a.onnx").slopes
    assert constant.shape == (1,) * len(shape)
    assert constant.ravel().tolist() == [-0.75]
    x = torch.randn(7, *shape[1:])
    torch.testing.assert_close(runtime(tmp_path / "a.onnx", x)[0].double(), expected(x, [-0.75], 1), rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("axis", "shape", "in_onnx"),
    [
        (-1, (3, 7, C), (1, 1, C)),
        (-1, (3, C, C), (1, 1, C)),
        (-1, (3, 4, 6, C), (1, 1, 1, C)),
        (2, (3, 7, C, 4), (1, 1, C, 1)),
        (-3, (3, C, 4, 6), (1, C, 1, 1)),
        (-1, (3, C), (1, C)),
    ],
)
def test_channels_elsewhere_need_no_transposition(axis, shape, in_onnx, tmp_path, graph, runtime):
    slopes = SLOPES["mixed"]
    export_model(sw.PReLU(C, init=slopes, channel_dim=axis), torch.randn(shape), tmp_path / "a.onnx")
    seen = graph(tmp_path / "a.onnx")
    assert seen.kinds == ["PRelu"]
    assert seen.slopes[0].shape == in_onnx
    x = torch.randn(4, *shape[1:])
    (y,) = runtime(tmp_path / "a.onnx", x)
    torch.testing.assert_close(y.double(), expected(x, slopes, axis), rtol=1e-6, atol=0)


class Transposed(nn.Module):
    """A user's own transpositions, before and after: `back` undoes `there` or does not."""

    def __init__(self, there, back, *, twice=False):
        super().__init__()
        self.there, self.back, self.twice = there, back, twice
        self.act = nn.PReLU(C)
        nn.init.uniform_(self.act.weight, -1, 1)

    def forward(self, x):
        moved = self.act(x.permute(self.there))
        y = moved.permute(self.back)
        return (y, moved) if self.twice else y


def test_transpositions_that_undo_each_other_go(tmp_path, graph, runtime):
    model, x = Transposed((0, 3, 1, 2), (0, 2, 3, 1)), torch.randn(2, 3, 4, C)
    export_model(model, x, tmp_path / "a.onnx")
    assert graph(tmp_path / "a.onnx").kinds == ["PRelu"]
    torch.testing.assert_close(runtime(tmp_path / "a.onnx", x)[0], model(x))


@pytest.mark.parametrize(
    "model", [Transposed((0, 3, 1, 2), (0, 3, 1, 2)), Transposed((0, 3, 1, 2), (0, 2, 3, 1), twice=True)]
)
def test_other_transpositions_stay(model, tmp_path, graph, runtime):
    x = torch.randn(2, 3, 4, C)
    export_model(model, x, tmp_path / "a.onnx")
    assert graph(tmp_path / "a.onnx").kinds.count("Transpose") == 2
    for ours, theirs in zip(runtime(tmp_path / "a.onnx", x), model(x) if model.twice else [model(x)], strict=True):
        torch.testing.assert_close(ours, theirs)


def test_bounds_are_in_the_constant_and_the_parameter_stays(tmp_path, graph):
    layer = sw.PReLU(3, init=[0.1, 0.2, 0.3], bounds=(0.0, 0.5))
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([-1.0, 0.25, 7.0]))
    export_model(layer, torch.randn(2, 3, 4), tmp_path / "a.onnx")
    seen = graph(tmp_path / "a.onnx")
    assert seen.kinds == ["PRelu"]
    assert seen.slopes[0].ravel().tolist() == [0.0, 0.25, 0.5]
    assert layer.weight.tolist() == [-1.0, 0.25, 7.0]


def test_very_many_slopes_are_a_constant_too(tmp_path, graph):
    channels = 20_000  # above what torch's exporter folds
    report = export_model(sw.PReLU(channels), torch.randn(2, channels, 1, 1), tmp_path / "a.onnx")
    assert graph(tmp_path / "a.onnx").kinds == ["PRelu"]
    assert report.slopes == {"weight": (1, channels, 1, 1)}


def test_names_are_the_models_and_shared_slopes_are_one_constant(tmp_path, graph):
    act = sw.PReLU(3)
    fixed = sw.BatchNormPReLU2d(3, init=0.1, learnable=False)
    model = nn.Sequential(act, nn.Conv2d(3, 3, 1), act, nn.ModuleDict({"a": sw.ConvBNPReLU(3, 3)})["a"], fixed)
    report = export_model(model, torch.randn(2, 3, 4, 4), tmp_path / "a.onnx")
    assert report.prelu_nodes == 4
    assert report.slopes == {"0.weight": (1, 3, 1, 1), "3.bn.slope": (1, 3, 1, 1), "4.slope": (1, 3, 1, 1)}
    seen = graph(tmp_path / "a.onnx")
    assert [node.input[1] for node in seen.nodes if node.op_type == "PRelu"] == [
        "0.weight",
        "0.weight",
        "3.bn.slope",
        "4.slope",
    ]


def test_slopes_that_something_else_uses_too(tmp_path, graph, runtime):
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.act = sw.PReLU(3, init=[0.1, 0.2, 0.3])

        def forward(self, x):
            return self.act(x) + self.act.weight.sum() + self.act(x.flatten(2))[..., None, :1]

    model, x = Twice(), torch.randn(2, 3, 4, 4)
    report = export_model(model, x, tmp_path / "a.onnx")
    assert sorted(report.slopes.values()) == [(1, 3, 1), (1, 3, 1, 1)]
    torch.testing.assert_close(runtime(tmp_path / "a.onnx", x)[0], model(x))


def test_slopes_computed_from_the_input_are_left_with_a_note(tmp_path):
    class Own(nn.Module):
        def forward(self, x):
            return sw.functional.prelu(x, x.mean((0, 2)))

    report = export_model(Own(), torch.randn(2, 3, 4), tmp_path / "a.onnx")
    assert report.prelu_nodes == 1
    assert report.slopes == {}
    assert any("slopes computed from the inputs" in note for note in report.notes)


@pytest.mark.filterwarnings("ignore")  # torch's exporter warns in its own code
def test_float32_slopes_under_bfloat16_become_bfloat16_constants():
    # ONNX Runtime's CPU has no bfloat16 kernels, so that the file itself cannot be proved: the graph alone.
    from slopewise.export._slopes import place_slopes, prelu_nodes

    layer = sw.BatchNormPReLU2d(4).bfloat16()
    layer.slope.data = torch.tensor([0.1, 0.2, 0.3, 0.4])
    program = torch.export.export(layer.eval(), (torch.randn(2, 4, 3, 3).bfloat16(),))
    model = torch.onnx.export(program, dynamo=True, verbose=False, opset_version=18).model
    place_slopes(model, {})
    (node,) = prelu_nodes(model)
    slope = node.inputs[1]
    assert slope.is_initializer()
    assert (str(slope.dtype), tuple(slope.shape)) == ("BFLOAT16", (1, 4, 1, 1))
    assert slope.const_value.numpy().astype("float32").ravel().tolist() == layer.slope.bfloat16().tolist()
