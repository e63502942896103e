"""Free sizes: files that take them, sizes that go together or in steps, and networks that fix them."""

import pytest
import torch
from torch import nn

import slopewise as sw
from slopewise.export import ExportError, export_model

SPACE = {"x": {2: "height", 3: "width"}}


class Net(nn.Module):
    def __init__(self, *layers, function=None):
        super().__init__()
        self.layers, self.function = nn.Sequential(*layers), function

    def forward(self, x):
        x = self.layers(x)
        return self.function(x) if self.function else x


def pictures(batch=2, height=8, width=8):
    return torch.randn(batch, 3, height, width)


def test_a_classifier_of_any_size_and_the_names_in_the_file(tmp_path, graph, runtime, settled):
    model = settled(Net(sw.ConvBNPReLU(3, 4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2), sw.PReLU(2)))
    report = export_model(model, pictures(), tmp_path / "a.onnx", dynamic_shapes=SPACE)
    assert report.inputs == {"x": ("batch", 3, "height", "width")}
    assert graph(tmp_path / "a.onnx").inputs == {"x": ["batch", 3, "height", "width"]}
    assert "free    batch, height, width; all other sizes are fixed" in str(report)
    tried = [tuple(parity.sizes.values()) for parity in report.parity]
    assert len({sizes[1] for sizes in tried}) == len({sizes[2] for sizes in tried}) == 3
    assert all(height != width for _, height, width in tried[1:])
    x = pictures(5, 21, 13)
    torch.testing.assert_close(runtime(tmp_path / "a.onnx", x)[0], model(x).detach())


def test_tokens_of_any_length_as_a_program(tmp_path):
    model = Net(nn.Linear(6, 4), sw.PReLU(4, channel_dim=-1), function=lambda x: x.mean(1)).eval()
    ranged = (torch.export.Dim("samples", max=16), torch.export.Dim("length", min=2, max=64), None)
    report = export_model(model, torch.randn(2, 5, 6), tmp_path / "a.pt2", dynamic_shapes=(ranged,))
    assert report.inputs == {"x": ("samples", "length", 6)}
    x = torch.randn(7, 31, 6)
    torch.testing.assert_close(torch.export.load(tmp_path / "a.pt2").module()(x), model(x))


def test_sizes_in_steps_and_equal_sizes_are_noted(tmp_path, runtime):

    def even(x):
        low = nn.functional.avg_pool2d(x, 2)
        return x + nn.functional.interpolate(low, scale_factor=2.0)

    model = Net(nn.Conv2d(3, 4, 3, padding=1), function=even).eval()
    report = export_model(model, pictures(), tmp_path / "a.onnx", dynamic_shapes=SPACE)
    assert any("'height': the model takes 10" in note for note in report.notes)
    x = pictures(1, 14, 6)
    torch.testing.assert_close(runtime(tmp_path / "a.onnx", x)[0], model(x).detach())

    square = Net(function=lambda x: x + x.mT)
    report = export_model(square, pictures(), tmp_path / "b.pt2", dynamic_shapes=SPACE)
    assert any("'height' and 'width' are always equal" in note for note in report.notes)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (
            Net(nn.Flatten(), nn.Linear(192, 2)),
            r"'height' cannot be free, .* 8 and not 9, in 'layers.1' \(Linear\)",
        ),
        (Net(function=lambda x: x + torch.ones(8, 8)), r"'height' cannot be free, since the model takes 8 and not 9 "),
        (Net(function=lambda x: x * (2 if x.shape[2] > 16 else 3)), "'height' can be up to 16 .* takes 17 .* branch"),
    ],
    ids=["a linear layer", "a table", "a branch"],
)
def test_networks_that_fix_a_size(model, words, tmp_path):
    with pytest.raises(ExportError, match=words):
        export_model(model, pictures(), tmp_path / "a.pt2", dynamic_shapes=SPACE)
    assert list(tmp_path.iterdir()) == []
    report = export_model(model, pictures(), tmp_path / "a.pt2")
    assert report.inputs == {"x": ("batch", 3, 8, 8)}


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        ({"y": {2: "height"}}, "names 'y', which is no input: .*known: x"),
        ({"x": {4: "depth"}}, r"dimension 4 of 'x', which has shape \(2, 3, 8, 8\)"),
        ({"x": {2: 7}}, "fixes dimension 2 of 'x' at 7, and it is 8"),
        ({"x": {2: 1.5}}, "neither a name"),
        ({"x": ["height"]}, "must be a dict"),
        ({"x": {1: "size", 2: "size"}}, "'size' in dynamic_shapes is 3 in one input and 8 in another"),
        (({2: "height"}, None), "has 2 entries for the 1 inputs"),
    ],
)
def test_dynamic_shapes_that_do_not_fit(shapes, words, tmp_path):
    with pytest.raises(ValueError, match=words):
        export_model(Net(nn.PReLU(3)), pictures(), tmp_path / "a.pt2", dynamic_shapes=shapes)
