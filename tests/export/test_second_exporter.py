"""An exporter of a user, in one file: TorchScript, in its own runtime. Nothing else knows of it."""

from pathlib import Path
from typing import ClassVar

import pytest
import torch
from torch import nn

from slopewise.export import (
    EXPORTERS,
    Exported,
    Exporter,
    ExportError,
    Loaded,
    Options,
    Runtime,
    Source,
    Written,
    export_model,
    exporter_of,
    register_exporter,
)
from slopewise.testing import check_exporter


class Interpreter(Runtime):
    name, title, packages = "torchscript", "TorchScript", {"torch": "torch"}

    def load(self, exported: Exported) -> Loaded:
        program = torch.jit.load(exported.file)
        return Loaded(lambda call: [program(*call.args, **call.kwargs)])


class Script(Exporter):
    suffix = ".script"
    runtime: ClassVar = Interpreter()

    def write(self, source: Source, path: Path, options: Options) -> Written:
        torch.jit.trace(source.program.module(), source.call.args, check_trace=False).save(path)
        facts = exporter_of("net.pt2").write(source, path.with_suffix(".pt2"), options)
        path.with_suffix(".pt2").unlink()
        return Written("TorchScript", None, facts.inputs, facts.outputs, facts.prelu_nodes, facts.slopes)


@pytest.fixture
def script():
    register_exporter(Script)
    yield Script
    EXPORTERS.unregister(Script.suffix)


@pytest.mark.filterwarnings("ignore:.*:torch.jit.TracerWarning", "ignore:.*torch.jit.*:DeprecationWarning")
def test_it_keeps_the_contract(script, tmp_path):
    check_exporter(script, tmp_path)


def test_an_unknown_suffix_is_refused_with_the_known_ones(script, tmp_path):
    words = r"'net.script2' must end in a suffix .* write; did you mean '.script'\? \(known: .onnx, .pt2, .script\)"
    with pytest.raises(ExportError, match=words):
        export_model(nn.PReLU(), torch.ones(1, 2), tmp_path / "net.script2")


@pytest.mark.parametrize("suffix", [".onnx", ".pt2"])
def test_slopewises_own_keep_it_too(suffix, tmp_path):
    pytest.importorskip("onnxscript")
    check_exporter(type(exporter_of(f"net{suffix}")), tmp_path)
