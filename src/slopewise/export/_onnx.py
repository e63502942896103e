"""An exported program as an ONNX file, and what ONNX Runtime makes of that file."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from slopewise.export._call import Call
from slopewise.export._error import ExportError, reason
from slopewise.export._program import slope_names
from slopewise.export._report import Shape, Written
from slopewise.export._slopes import operand, place_slopes, prelu_nodes

if TYPE_CHECKING:
    import onnx_ir as ir

_STACK_TRACE = "pkg.torch.onnx.stack_trace"


def write(
    program: torch.export.ExportedProgram,
    path: Path,
    call: Call,
    outputs: Sequence[str],
    aliases: Mapping[str, str],
    opset: int,
    *,
    external_data: bool,
    verbose: bool,
) -> Written:
    """Translate a program to ONNX.

    Args:
        program: from torch.export.
        path: of the file.
        call: the example, which tells the inputs that have a batch.
        outputs: the names that the outputs are to have.
        aliases: for each name of a parameter or buffer, the one to call it by.
        opset: of ONNX.
        external_data: put the weights into a second file.
        verbose: let torch print its progress.
    """
    onnx_program = _translated(program, opset, verbose=verbose)
    model = onnx_program.model
    place_slopes(model, slope_names(onnx_program.exported_program, aliases))
    _name_ends(model, program, outputs)
    _name_batch(model, call)
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
        lambda given: _run(path, given.tensors),
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
    """Call the inputs as the model's forward does, and the outputs by their place in what it returns."""
    inputs = [name for name in program.graph_signature.user_inputs if isinstance(name, str)]
    for value, name in zip(model.graph.inputs, inputs, strict=True):
        value.name = name
    for value, name in zip(model.graph.outputs, outputs, strict=True):
        value.name = f"{name}_output" if name in inputs else name


def _name_batch(model: ir.Model, call: Call) -> None:
    """Call the dynamic dimension "batch" everywhere, instead of a symbol of torch's."""
    import onnx_ir as ir

    pairs = zip(model.graph.inputs, call.tensors, strict=True)
    firsts = {value.shape[0] for value, tensor in pairs if value.shape and call.is_batched(tensor)}
    symbols = {str(first) for first in firsts if not isinstance(first, int)}
    if not symbols:
        return
    pattern = re.compile(rf"\b({'|'.join(map(re.escape, symbols))})\b")
    values = [*model.graph.inputs, *(value for node in model.graph.all_nodes() for value in node.outputs)]
    for value in values:
        if value.shape is not None and not value.shape.is_static():
            sizes = [size if isinstance(size, int) else pattern.sub("batch", str(size)) for size in value.shape]
            value.shape = ir.Shape(sizes)


def _run(path: Path, tensors: Sequence[Tensor]) -> list[Tensor]:
    try:
        running = session(path)
        names = [value.name for value in running.get_inputs()]
        feed = {name: tensor.detach().cpu().numpy() for name, tensor in zip(names, tensors, strict=True)}
        return [torch.from_numpy(array) for array in running.run(None, feed)]
    except Exception as error:  # of many classes
        dtypes = {tensor.dtype for tensor in tensors if tensor.is_floating_point()} - {torch.float32}
        hint = ""
        if dtypes:
            hint = (
                f" (the inputs are {', '.join(map(str, dtypes))}, of which its CPU kernels take few: export "
                "model.float() with float32 inputs, and convert the file)"
            )
        raise ExportError(f"ONNX Runtime cannot run the file: {reason(error)}{hint}") from error


def session(path: Path) -> Any:
    """An ONNX Runtime session of a file, on the CPU, that prints errors alone."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _shape(value: ir.Value) -> Shape:
    return tuple(size if isinstance(size, int) else str(size) for size in value.shape or ())
