"""An exported program as an ONNX file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from slopewise.errors import ExportError
from slopewise.export._averages import place_averages
from slopewise.export._call import Call
from slopewise.export._dynamic import names_of, renamed
from slopewise.export._error import reason
from slopewise.export._program import slope_names
from slopewise.export._report import Shape, Written
from slopewise.export._slopes import operand, place_slopes, prelu_nodes

if TYPE_CHECKING:
    import onnx_ir as ir

_STACK_TRACE = "pkg.torch.onnx.stack_trace"


def write(
    program: torch.export.ExportedProgram,
    call: Call,
    outputs: Sequence[str],
    aliases: Mapping[str, str],
    opset: int,
    path: Path,
    *,
    keep_transpositions: bool,
    external_data: bool,
    verbose: bool,
) -> Written:
    """Translate a program to ONNX.

    Args:
        program: Program from torch.export.
        call: Example, which names the free dimensions.
        outputs: Names to give to the outputs.
        aliases: Name to use for each name of a parameter or buffer.
        opset: Version of ONNX's operators.
        path: File to write.
        keep_transpositions: If True, transpositions around a PRelu are kept.
        external_data: If True, the weights are written to a second file.
        verbose: If True, torch prints its progress.
    """
    onnx_program = _translated(program, opset, verbose=verbose)
    model = onnx_program.model
    place_averages(model)
    place_slopes(model, slope_names(onnx_program.exported_program, aliases), keep_transpositions=keep_transpositions)
    _name_ends(model, program, outputs)
    _name_sizes(model, call)
    for node in model.graph.all_nodes():
        node.metadata_props.pop(_STACK_TRACE, None)  # source lines and paths of the machine that exported
    onnx_program.save(path, external_data=external_data or None)
    nodes = prelu_nodes(model)
    slopes_of = {str(node.name): operand(node, 1) for node in nodes}
    constant = {str(value.name): _shape(value) for value in slopes_of.values() if value.is_initializer()}
    computed = [name for name, value in slopes_of.items() if not value.is_initializer()]
    notes: tuple[str, ...] = ()
    if computed:
        notes = (f"slopes computed from the inputs, which some runtimes refuse: {', '.join(computed)}",)
    return Written(
        "ONNX",
        opset,
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
