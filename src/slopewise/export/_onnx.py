"""An exported program as an ONNX file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from slopewise.errors import ExportError
from slopewise.export._averages import place_averages
from slopewise.export._base import Exporter, Options, Source
from slopewise.export._call import Call
from slopewise.export._dynamic import names_of, renamed
from slopewise.export._error import reason
from slopewise.export._prelu_calls import slope_names
from slopewise.export._report import Shape, Written
from slopewise.export._slopes import operand, place_slopes, prelu_nodes
from slopewise.export.runtimes import RUNTIMES, Runtime

if TYPE_CHECKING:
    import onnx_ir as ir

_STACK_TRACE = "pkg.torch.onnx.stack_trace"


class OnnxExporter(Exporter):
    """Writes one PRelu node for each PReLU, with constant slopes under the model's names."""

    suffix = ".onnx"
    packages: ClassVar = {"onnx": "onnx", "onnxscript": "onnxscript", "onnxruntime": "onnxruntime"}
    extra = "export"

    @property
    def runtime(self) -> Runtime:
        """ONNX Runtime, on the CPU."""
        return RUNTIMES["onnxruntime"]

    def check(self, options: Options) -> None:
        """Refuse versions of the operators that torch's exporter does not write."""
        if options.opset < 18:
            raise ExportError(f"opset must be 18 or newer, got {options.opset}: torch's exporter is written for those")

    def write(self, source: Source, path: Path, options: Options) -> Written:
        """Translate the program, and save it."""
        return _write(source, path, options)


def _write(source: Source, path: Path, options: Options) -> Written:
    onnx_program = _translated(source.program, options.opset, verbose=options.verbose)
    model = onnx_program.model
    place_averages(model)
    names = slope_names(onnx_program.exported_program, source.aliases)
    place_slopes(model, names, keep_transpositions=options.keep_transpositions)
    _name_ends(model, source.program, source.outputs)
    _name_sizes(model, source.call)
    for node in model.graph.all_nodes():
        node.metadata_props.pop(_STACK_TRACE, None)  # source lines and paths of the machine that exported
    onnx_program.save(path, external_data=options.external_data or None)
    nodes = prelu_nodes(model)
    slopes_of = {str(node.name): operand(node, 1) for node in nodes}
    constant = {str(value.name): _shape(value) for value in slopes_of.values() if value.is_initializer()}
    computed = [name for name, value in slopes_of.items() if not value.is_initializer()]
    notes: tuple[str, ...] = ()
    if computed:
        notes = (f"slopes computed from the inputs, which some runtimes refuse: {', '.join(computed)}",)
    return Written(
        "ONNX",
        options.opset,
        {str(value.name): _shape(value) for value in model.graph.inputs},
        {str(value.name): _shape(value) for value in model.graph.outputs},
        len(nodes),
        constant,
        notes,
    )


def _translated(program: torch.export.ExportedProgram, opset: int, *, verbose: bool) -> Any:
    try:
        onnx_program = torch.onnx.export(program, dynamo=True, opset_version=opset, verbose=verbose)
    except Exception as error:  # of many classes
        raise ExportError(f"torch.onnx cannot translate the model: {reason(error.__cause__ or error)}") from error
    given = onnx_program.model.opset_imports[""]  # type: ignore[union-attr]
    if given != opset:
        raise ExportError(f"torch.onnx could not write opset {opset}, but {given}: pass opset={given} or leave it out")
    return onnx_program


def _name_ends(model: ir.Model, program: torch.export.ExportedProgram, outputs: Sequence[str]) -> None:
    """Name the inputs as the model's forward does, and the outputs by their position in the value that it returns."""
    inputs = [name for name in program.graph_signature.user_inputs if isinstance(name, str)]
    for value, name in zip(model.graph.inputs, inputs, strict=True):
        value.name = name
    for value, name in zip(model.graph.outputs, outputs, strict=True):
        value.name = f"{name}_output" if name in inputs else name


def _name_sizes(model: ir.Model, call: Call) -> None:
    """Give free dimensions their names everywhere, in place of torch's symbols."""
    import onnx_ir as ir

    names = names_of([list(value.shape or ()) for value in model.graph.inputs], call)
    if not names:
        return
    values = [*model.graph.inputs, *(value for node in model.graph.all_nodes() for value in node.outputs)]
    for value in values:
        if value.shape is not None and not value.shape.is_static():
            value.shape = ir.Shape(renamed(value.shape, names))


def _shape(value: ir.Value) -> Shape:
    return tuple(size if isinstance(size, int) else str(size) for size in value.shape or ())
