"""Exported files: their errors, what they leave alone, inputs and outputs of every kind, .pt2 in another process."""

import dataclasses
import subprocess
import sys

import pytest
import torch
from torch import nn

import slopewise as sw
from slopewise.export import ExportError, export_model


class Call(nn.Module):
    """A function as a model."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *args, **kwargs):
        return self.function(*args, **kwargs)


def block():
    return nn.Sequential(sw.ConvBNPReLU(3, 4), nn.Dropout(), sw.PReLU(4), sw.BatchNormPReLU2d(4, bounds=(0.0, 1.0)))


def pictures(count=2):
    return torch.randn(count, 3, 5, 5)


BOTH = pytest.mark.parametrize("suffix", [".onnx", ".pt2"])


@BOTH
def test_the_model_is_left_as_it_was(suffix, tmp_path):
    model = block().train()
    model[2].eval()  # a mode of its own
    seen = []
    model[2].register_forward_hook(lambda *_: seen.append(1))
    before = {name: (value, value.clone()) for name, value in model.state_dict(keep_vars=True).items()}
    modes = [module.training for module in model.modules()]
    example = pictures().requires_grad_()
    report = export_model(model, example, tmp_path / f"a{suffix}")
    assert [module.training for module in model.modules()] == modes
    for name, value in model.state_dict(keep_vars=True).items():
        assert value is before[name][0]
        torch.testing.assert_close(value, before[name][1], rtol=0, atol=0)
    assert not model._forward_hooks
    assert len(model[2]._forward_hooks) == 1
    assert seen
    assert example.grad is None
    assert "evaluation mode" in report.notes[0]
    model(pictures())  # and trains on
    assert model[0].bn.num_batches_tracked == 1


@BOTH
def test_the_report_is_a_table(suffix, tmp_path):
    path = tmp_path / f"net{suffix}"
    report = export_model(block().eval(), pictures(), path)
    lines = str(report).splitlines()
    kind, shape = ("ONNX, opset 18", "3 x (1, 4, 1, 1)") if suffix == ".onnx" else ("torch.export", "3 x (4,)")
    assert lines[0] == f"net{suffix}: {kind}, {path.stat().st_size / 2**20:.2f} MiB"
    assert lines[1].split() == ["input", "input", "(batch,", "3,", "5,", "5)"]
    assert lines[2].split() == ["output", "output", "(batch,", "4,", "5,", "5)"]
    assert lines[3] == f"  PReLU   3 nodes; slopes {shape}"
    assert lines[4] == "  free    batch; all other sizes are fixed"
    assert [line.split(":")[0].strip() for line in lines[6:]] == ["batch 2 (the example)", "batch 1", "batch 3"]
    assert [parity.batch for parity in report.parity] == [2, 1, 3]
    assert all(parity.relative <= 1e-5 for parity in report.parity)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.slow
def test_a_program_runs_where_slopewise_is_not_imported(tmp_path, settled):
    model = settled(nn.Sequential(block(), nn.Flatten(2), sw.PReLU(25, channel_dim=-1)))
    export_model(model, pictures(), tmp_path / "a.pt2")
    inputs, outputs = tmp_path / "x.pt", tmp_path / "y.pt"
    torch.save(pictures(7), inputs)
    code = f"""
import sys, torch
program = torch.export.load({str(tmp_path / "a.pt2")!r}).module()
torch.save(program(torch.load({str(inputs)!r})), {str(outputs)!r})
assert not [name for name in sys.modules if name.startswith("slopewise")]
"""
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    with torch.no_grad():
        torch.testing.assert_close(torch.load(outputs), model(torch.load(inputs)))


@dataclasses.dataclass
class Answer:
    logits: torch.Tensor
    states: tuple[torch.Tensor, ...]
    loss: torch.Tensor | None = None


OUTPUTS = {
    "a dataclass": (lambda x: Answer(x + 1, (x * 2, x * 3)), ["logits", "states_0", "states_1"]),
    "a dict": (lambda x: {"b": x + 1, "a": [x * 2], "input": x * 3}, ["b", "a_0", "input"]),
    "a tuple": (lambda x: (x + 1, (x * 2,)), ["output_0", "output_1_0"]),
    "the input itself": (lambda x: x, ["output"]),
}


@BOTH
@pytest.mark.parametrize(("function", "names"), OUTPUTS.values(), ids=OUTPUTS)
def test_outputs_of_every_kind(function, names, suffix, tmp_path, graph, runtime):
    x = pictures()
    report = export_model(Call(function), x, tmp_path / f"a{suffix}")
    assert list(report.outputs) == names
    if suffix == ".onnx":
        flat = torch.utils._pytree.tree_leaves(dataclasses.asdict(y) if isinstance(y := function(x), Answer) else y)
        for theirs, ours in zip(runtime(tmp_path / "a.onnx", x), [one for one in flat if one is not None], strict=True):
            torch.testing.assert_close(theirs, ours)
    else:
        loaded = torch.export.load(tmp_path / "a.pt2").module()(x)
        assert type(loaded) in (dict, tuple, torch.Tensor)


@BOTH
def test_keyword_inputs_in_any_order(suffix, tmp_path):
    class Model(nn.Module):
        def forward(self, first, second, scale=1.0, flag=True):
            return (first - 2 * second) * scale if flag else first

    example = {"second": pictures(), "first": pictures(), "flag": True}
    report = export_model(Model(), example, tmp_path / f"a{suffix}")
    assert list(report.inputs) == ["second", "first"]
    assert all(shape[0] == "batch" for shape in report.inputs.values())


def test_inputs_without_the_batch_stay_fixed(tmp_path, graph):
    table = torch.randn(3, 1, 1)
    report = export_model(Call(lambda x, y: x * y), (pictures(2), table), tmp_path / "a.onnx")
    assert list(report.inputs.values()) == [("batch", 3, 5, 5), (3, 1, 1)]


def test_one_sample_is_example_enough(tmp_path, graph):
    report = export_model(block(), pictures(1), tmp_path / "a.onnx")
    assert [parity.batch for parity in report.parity] == [1, 2]
    assert graph(tmp_path / "a.onnx").inputs == {"input": ["batch", 3, 5, 5]}


def test_wrapped_models(tmp_path):
    layer = sw.PReLU(3)
    compiled = torch.compile(layer, backend="eager")
    for model in (compiled, nn.DataParallel(layer)):
        report = export_model(model, pictures(), tmp_path / "a.onnx")
        assert report.slopes == {"weight": (1, 3, 1, 1)}


@BOTH
def test_graph_modules(suffix, tmp_path):
    model = torch.fx.symbolic_trace(block().eval())
    report = export_model(model, pictures(), tmp_path / f"a{suffix}")
    assert list(report.slopes) == ["0.bn.slope", "2.weight", "3.slope"]
    assert report.prelu_nodes == 3


@BOTH
def test_a_fixed_batch_is_an_error_that_says_what_to_do(suffix, tmp_path, graph):
    model, path = Call(lambda x: x.reshape(2, 75)), tmp_path / f"a{suffix}"
    with pytest.raises(ExportError, match=r"size of the batch is fixed .*constant \(2\).* pass dynamic_batch=False"):
        export_model(model, pictures(), path)
    assert list(tmp_path.iterdir()) == []
    report = export_model(model, pictures(), path, dynamic_batch=False)
    assert [parity.batch for parity in report.parity] == [2]
    assert next(iter(report.inputs.values()))[0] == 2


@BOTH
def test_a_branch_on_the_size_of_the_batch(suffix, tmp_path):
    model = Call(lambda x: x * 2 if len(x) > 2 else x * 3)
    with pytest.raises(ExportError, match=r"does not take a batch of 1 .* pass dynamic_batch=False"):
        export_model(model, pictures(4), tmp_path / f"a{suffix}")
    assert list(tmp_path.iterdir()) == []


@BOTH
def test_a_model_that_cannot_be_traced(suffix, tmp_path, capfd):
    with pytest.raises(ExportError, match=r"torch.export cannot trace the model: .*test_export_model.py"):
        export_model(Call(lambda x: x if x.sum() > 0 else -x), pictures(), tmp_path / f"a{suffix}")
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []


def test_an_operator_that_onnx_lacks(tmp_path):
    with pytest.raises(ExportError, match=r"torch.onnx cannot translate the model: .*svd"):
        export_model(Call(lambda x: torch.linalg.svd(x)[1]), pictures(), tmp_path / "a.onnx")


def test_parity_above_the_tolerance_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.onnx"
    path.write_text("the old one")
    model = nn.Sequential(nn.Conv2d(3, 64, 5), nn.Flatten(), nn.Linear(64, 64))
    with pytest.raises(ExportError, match=r"output 'output' .* 0 is allowed\. .*torch.export traced agrees.*runtime"):
        export_model(model, pictures(), path, tolerance=0.0)
    assert [one.name for one in tmp_path.iterdir()] == ["a.onnx"]
    assert path.read_text() == "the old one"
    export_model(model, pictures(), path)
    assert path.read_bytes()[:3] != b"the"


@BOTH
def test_random_numbers_are_pointed_at(suffix, tmp_path):
    with pytest.raises(ExportError, match="look for random numbers in its forward"):
        export_model(Call(lambda x: x + torch.rand_like(x)), pictures(), tmp_path / f"a{suffix}")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_dtypes_that_onnx_runtime_does_not_take(dtype, tmp_path):
    model = block().to(dtype)
    with pytest.raises(ExportError, match=r"ONNX Runtime cannot run the file: .*export model.float\(\)"):
        export_model(model, pictures().to(dtype), tmp_path / "a.onnx")
    export_model(model, pictures().to(dtype), tmp_path / "a.pt2")


@pytest.mark.parametrize(
    ("example", "options", "error", "words"),
    [
        ("pictures", {}, TypeError, "has no tensor, but is str: pass a Tensor, a tuple"),
        ({"x": 1}, {}, TypeError, "has no tensor"),
        (torch.randn(()), {}, ExportError, "no input has a dimension for the batch: pass dynamic_batch=False"),
        (pictures(0), {}, ExportError, "at least one sample"),
        (pictures(), {"opset": 17}, ValueError, "opset must be 18 or newer, got 17"),
        (pictures(), {"opset": 99}, ExportError, "could not write opset 99"),
        (pictures(), {"tolerance": float("nan")}, ValueError, "tolerance must not be negative, got nan"),
        (pictures(), {"path": "a.pth"}, ValueError, r"'a.pth' must end in .* mean '.pt2'\?"),
        (pictures(), {"path": "a"}, ValueError, "'a' must end in .* known: .onnx, .pt2"),
        (pictures(), {"path": "missing/a.onnx"}, FileNotFoundError, "no folder .*missing"),
    ],
)
def test_bad_input(example, options, error, words, tmp_path):
    path = tmp_path / options.pop("path", "a.onnx")
    with pytest.raises(error, match=words):
        export_model(sw.PReLU(), example, path, **options)
    assert list(tmp_path.iterdir()) == []


def test_outputs_that_are_no_tensors(tmp_path):
    with pytest.raises(ExportError, match="output holds a str"):
        export_model(Call(lambda x: (x, "name")), pictures(), tmp_path / "a.onnx")


def test_the_models_own_error_is_its_own(tmp_path):
    with pytest.raises(RuntimeError, match="expected input"):
        export_model(nn.Conv2d(4, 4, 1), pictures(), tmp_path / "a.onnx")


def test_a_model_without_values(tmp_path):
    with pytest.raises(ExportError, match="meta device"):
        export_model(block().to("meta"), pictures().to("meta"), tmp_path / "a.onnx")


def test_complex_outputs_are_compared_whole(tmp_path):
    report = export_model(Call(lambda x: torch.complex(x, 2 * x)), pictures(), tmp_path / "a.pt2")
    assert report.parity[0].relative == 0
    calls = []

    def turning(x):  # the imaginary part changes from call to call
        calls.append(1)
        return torch.complex(x, x + len(calls))

    with pytest.raises(ExportError, match="differs from the model's"):
        export_model(Call(turning), pictures(), tmp_path / "b.pt2")


def test_weights_in_a_second_file(tmp_path, runtime):
    model, x = nn.Conv2d(3, 256, 3), pictures()
    report = export_model(model, x, tmp_path / "a.onnx", external_data=True)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["a.onnx", "a.onnx.data"]
    assert report.size == sum(one.stat().st_size for one in tmp_path.iterdir())
    torch.testing.assert_close(runtime(tmp_path / "a.onnx", x)[0], model(x).detach())


def test_a_missing_extra_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ModuleNotFoundError, match=r"needs 'onnxscript': pip install 'slopewise\[export\]'"):
        export_model(sw.PReLU(), pictures(), tmp_path / "a.onnx")
    export_model(sw.PReLU(), pictures(), tmp_path / "a.pt2")


@BOTH
def test_the_terminal_stays_clean_unless_asked(suffix, tmp_path, capfd):
    export_model(block().train(), pictures(), tmp_path / f"a{suffix}")
    assert capfd.readouterr() == ("", "")


@pytest.mark.filterwarnings("ignore")  # verbose lets torch's own warnings through
def test_verbose_lets_torch_speak(tmp_path, capfd):
    export_model(sw.PReLU(), pictures(), tmp_path / "a.onnx", verbose=True)
    assert "[torch.onnx]" in capfd.readouterr().out


def test_no_path_of_this_machine_is_in_the_file(tmp_path):
    export_model(block(), pictures(), tmp_path / "a.onnx")
    assert __file__.encode() not in (tmp_path / "a.onnx").read_bytes()
    assert b"site-packages" not in (tmp_path / "a.onnx").read_bytes()
