"""A model into a file that needs neither slopewise nor the model's code, and the proof that it computes the same."""

from __future__ import annotations

import itertools
from pathlib import Path

import torch

from slopewise.errors import need
from slopewise.export import _onnx, _pt2
from slopewise.export._call import Call, Example
from slopewise.export._error import ExportError
from slopewise.export._files import new_files
from slopewise.export._parity import prove
from slopewise.export._program import as_deployed, captured, first_names, outputs, quiet, unwrapped
from slopewise.export._report import ExportReport


def export_model(
    model: torch.nn.Module,
    example_inputs: Example,
    path: str | Path,
    *,
    dynamic_batch: bool = True,
    opset: int = 18,
    tolerance: float = 1e-5,
    external_data: bool = False,
    verbose: bool = False,
) -> ExportReport:
    """Write a model for another runtime, and compare what the file computes with the model before keeping it.

    The suffix of `path` says what is written: `.onnx` a graph for ONNX Runtime, TensorRT and others, `.pt2` a program
    of `torch.export` that `torch.export.load` reads. Both hold operations of ONNX's and PyTorch's own alone; neither
    needs slopewise. The model is exported as it computes in evaluation mode, and left as it is.

    In ONNX each PReLU is one PRelu node whose slopes are a constant, named as in the model: shape (C, 1, 1) for inputs
    (N, C, H, W), (C, 1) for (N, C, L), (C,) for (N, C) and for tokens (`channel_dim=-1`), (1,) for a shared slope.
    Slopes with bounds are those in use.

    Args:
        model: a torch.nn.Module of any layers. torch.compile's and data-parallel wrappers are looked through.
        example_inputs: a Tensor, a tuple of positional inputs, or a dict of keyword inputs.
        path: ends in `.onnx` or `.pt2`. A file that is there is replaced once the new one has proved right.
        dynamic_batch: let dimension 0 have any size, in every input whose dimension 0 is as long as the first's.
        opset: version of ONNX's operators, 18 or newer. No meaning for `.pt2`.
        tolerance: the largest difference allowed, relative to the greatest magnitude of the output it is in.
        external_data: put the weights of an ONNX file into a second one, `path` with `.data` added. Above 1.5 GiB,
            near the limit of what one ONNX file can hold, that is done anyway.
        verbose: show what the exporters print and warn of.

    Returns:
        What was written, and the differences measured: on the example and, if the batch is dynamic, on one sample and
        on one sample more than the example's.

    Raises:
        ExportError: the model has no values, cannot be traced or translated, its batch cannot be dynamic, ONNX Runtime
            cannot run the file, or the difference exceeds the tolerance. At `path` is then nothing, or what was there.
        ValueError: `path` has another suffix, `opset` is below 18, or `tolerance` is negative.
        FileNotFoundError: the folder of `path` does not exist.
        TypeError: `example_inputs` is something else, or holds no tensor.
        ModuleNotFoundError: ONNX needs ``pip install 'slopewise[export]'``.

    Example:
        >>> import tempfile, slopewise as sw
        >>> model = torch.nn.Sequential(sw.ConvBNPReLU(3, 8), torch.nn.Flatten(), torch.nn.Linear(8 * 16, 2))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     report = export_model(model, torch.randn(4, 3, 4, 4), folder + "/net.onnx")
        >>> report.inputs, report.slopes
        ({'input': ('batch', 3, 4, 4)}, {'0.bn.slope': (8, 1, 1)})
        >>> max(parity.relative for parity in report.parity) < 1e-5
        True
    """
    path = Path(path)
    _check(path, opset, tolerance)
    call = Call.of(example_inputs)
    model = unwrapped(model)
    if any(tensor.is_meta for tensor in itertools.chain(model.parameters(), model.buffers())):
        raise ExportError("the model is on the meta device, where it has no values: load them first")
    notes: tuple[str, ...] = ()
    if any(module.training for module in model.modules()):
        notes = ("the model is in training mode; what was exported is its evaluation mode",)
    with as_deployed(model), new_files(path) as file, quiet(verbose):
        names, aliases = list(outputs(model, call)), first_names(model)
        program = captured(model, call, dynamic_batch=dynamic_batch)
        if path.suffix == ".onnx":
            written = _onnx.write(
                program, file, call, names, aliases, opset, external_data=external_data, verbose=verbose
            )
        else:
            written = _pt2.write(program, file, names, aliases)
        measured = prove(model, program, written.run, call, tolerance, dynamic_batch=dynamic_batch)
        size = sum(one.stat().st_size for one in file.parent.iterdir())
    return ExportReport(
        path,
        written.format,
        written.opset,
        written.inputs,
        written.outputs,
        written.prelu_nodes,
        written.slopes,
        measured,
        tolerance,
        size,
        notes + written.notes,
    )


def _check(path: Path, opset: int, tolerance: float) -> None:
    if path.suffix not in (".onnx", ".pt2"):
        raise ValueError(f"'{path.name}' must end in .onnx or .pt2, which says what to write")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent} to write {path.name} to: create it first")
    if not tolerance >= 0:
        raise ValueError(f"tolerance must not be negative, got {tolerance}")
    if path.suffix == ".onnx":
        if opset < 18:
            raise ValueError(f"opset must be 18 or newer, got {opset}: torch's exporter is written for those")
        for module in ("onnx", "onnxscript", "onnxruntime"):
            need(module, what="export to .onnx", extra="export")
