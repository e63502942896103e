"""Export of a model to a file that needs neither slopewise nor the model's code, verified against the model."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from slopewise.errors import ExportError, ExportWarning, nearest
from slopewise.export import _onnx, _pt2
from slopewise.export._call import Call, Example
from slopewise.export._dynamic import DynamicShapes, freed
from slopewise.export._files import new_files
from slopewise.export._four_dimensional import four_dimensional
from slopewise.export._parity import check, rough
from slopewise.export._program import as_deployed, captured, first_names, outputs, quiet, unwrapped
from slopewise.export._report import ExportReport, Written
from slopewise.export._sizes import variants
from slopewise.export.runtimes import RUNTIMES, Exported
from slopewise.support import need


def export_model(
    model: torch.nn.Module,
    example_inputs: Example,
    path: str | Path,
    *,
    dynamic_batch: bool = True,
    dynamic_shapes: DynamicShapes | None = None,
    check_with: str | Iterable[str] = (),
    opset: int = 18,
    tolerance: float = 1e-5,
    keep_transpositions: bool = False,
    external_data: bool = False,
    verbose: bool = False,
) -> ExportReport:
    """Write a model for another runtime, and compare what the file computes with the model before keeping it.

    The suffix of `path` selects the format: `.onnx` is a graph for ONNX Runtime, OpenVINO, TensorRT, ncnn and others,
    `.pt2` a program of `torch.export` for PyTorch, ExecuTorch, LiteRT and Core ML. They hold only operations of ONNX
    or PyTorch; neither needs slopewise. The model is exported as it computes in evaluation mode, and is not changed.

    In ONNX each PReLU is one PRelu node whose slopes are a constant, named as in the model, with as many dimensions as
    the node's input: shape (1, C, 1, 1) for (N, C, H, W), (1, C) for (N, C), (1, 1, C) for tokens (`channel_dim=-1`),
    and all ones for a shared slope. In a `.pt2` program each PReLU computes on four dimensions, through views. Slopes
    with bounds are exported as the forward pass uses them.

    Args:
        model: Module with any layers. The wrappers of torch.compile and data parallelism are removed.
        example_inputs: Tensor, tuple of positional inputs, or dict of keyword inputs.
        path: File to write, which ends in `.onnx` or `.pt2`. An existing file is replaced once the new one is verified.
        dynamic_batch: If True, dimension 0 may have any size in each input whose dimension 0 is as long as the first's.
        dynamic_shapes: Further dimensions that may have any size, as in torch.export: for each input by its name in
            `forward` (or, in a tuple, by its position) a dict of dimensions and names, such as
            `{"x": {2: "height", 3: "width"}}`. Dimensions with the same name always have the same size. Instead of a
            name, a `torch.export.Dim` gives a range, which ExecuTorch needs to plan its memory, and None fixes a size.
        check_with: Names of further runtimes in which to verify the file: "onnxruntime", "openvino", "ncnn", "litert",
            "executorch", "torch". Each needs its packages. A runtime that reads the other of the two formats is given
            the same program in that format.
        opset: Version of ONNX's operators, 18 or newer. Ignored for `.pt2`.
        tolerance: Largest difference allowed, relative to the greatest magnitude in the same output.
        keep_transpositions: If True, transpositions around a PRelu whose channels are not in dimension 1 are kept. ncnn
            needs them; other runtimes are faster without.
        external_data: If True, the weights of an ONNX file are written to a second file, `path` with `.data` added.
            Above 1.5 GiB, near the limit of one ONNX file, this is always done.
        verbose: If True, the exporters' own output and warnings are shown.

    Returns:
        A report of the file and of the differences measured in each runtime: on the example; if the batch is dynamic,
        on one sample and on one sample more than the example's; and, together with these, on two other sizes of every
        dimension in `dynamic_shapes`. Runtimes that round more by default are also measured at their default precision.

    Raises:
        ExportError: the model has no values, cannot be traced or translated, fixes a size that is to be free, a
            runtime cannot run the file, or a difference exceeds the tolerance. An existing file at `path` is then left
            as it was.
        ValueError: `path` has another suffix, `opset` is below 18, `tolerance` is negative, `check_with` has an unknown
            name, or `dynamic_shapes` does not fit the inputs.
        FileNotFoundError: the folder of `path` does not exist.
        TypeError: `example_inputs` is of another type, or holds no tensor.
        ModuleNotFoundError: ONNX needs ``pip install 'slopewise[export]'``, and a runtime in `check_with` its packages.

    Warns:
        ExportWarning: a runtime is accurate in float32, but far off at its default precision.

    Example:
        >>> import tempfile, slopewise as sw
        >>> model = torch.nn.Sequential(sw.ConvBNPReLU(3, 8), torch.nn.Flatten(), torch.nn.Linear(8 * 16, 2))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     report = export_model(model, torch.randn(4, 3, 4, 4), folder + "/net.onnx")
        >>> report.inputs, report.slopes
        ({'input': ('batch', 3, 4, 4)}, {'0.bn.slope': (1, 8, 1, 1)})
        >>> max(parity.relative for parity in report.parity) < 1e-5
        True
    """
    path = Path(path)
    _check(path, opset, tolerance)
    native = "onnxruntime" if path.suffix == ".onnx" else "torch"
    wanted = _runtimes(native, check_with)
    if any(RUNTIMES[name].reads_onnx for name in wanted):
        for module in ("onnx", "onnxscript", "onnxruntime"):
            need(module, what="export to .onnx", extra="export")
    call = Call.of(example_inputs)
    model = unwrapped(model)
    if any(tensor.is_meta for tensor in itertools.chain(model.parameters(), model.buffers())):
        raise ExportError("the model is on the meta device, where it has no values: load them first")
    notes: tuple[str, ...] = ()
    if any(module.training for module in model.modules()):
        notes = ("the model is in training mode; what was exported is its evaluation mode",)
    call = freed(model, call, dynamic_shapes, dynamic_batch=dynamic_batch)
    with as_deployed(model), new_files(path) as file, TemporaryDirectory() as folder, quiet(verbose):
        names, aliases = list(outputs(model, call)), first_names(model)
        program = captured(model, call)
        calls, said = variants(model, program, call)

        def write_onnx(file: Path) -> Written:
            return _onnx.write(
                program,
                call,
                names,
                aliases,
                opset,
                file,
                keep_transpositions=keep_transpositions,
                external_data=external_data,
                verbose=verbose,
            )

        if native == "onnxruntime":
            written = write_onnx(file)
            exported = Exported(lambda: file, lambda: four_dimensional(program), Path(folder), is_onnx=True)
        else:
            written = _pt2.write(four_dimensional(program), call, names, aliases, file)
            exported = Exported(
                lambda: _once(write_onnx, folder), lambda: torch.export.load(file), Path(folder), is_onnx=False
            )
        measured, defaults = check(model, program, exported, wanted, calls, tolerance)
        size = sum(one.stat().st_size for one in file.parent.iterdir())
    for words in rough(defaults):
        warnings.warn(words, ExportWarning, stacklevel=2)
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
        notes + said + written.notes,
        {name: RUNTIMES[name].version() for name in wanted},
        defaults,
    )


def _once(write: Callable[[Path], object], folder: str) -> Path:
    """Return the ONNX file of a model that is exported as .pt2, written for the first runtime that needs it."""
    path = Path(folder, "model.onnx")
    if not path.exists():
        write(path)
    return path


def _runtimes(native: str, check_with: str | Iterable[str]) -> list[str]:
    asked = [check_with] if isinstance(check_with, str) else list(check_with)
    for name in asked:
        if name not in RUNTIMES:
            raise ValueError(f"check_with has '{name}': {nearest(str(name), RUNTIMES)}")
        RUNTIMES[name].require()
    return list(dict.fromkeys([native, *asked]))


def _check(path: Path, opset: int, tolerance: float) -> None:
    if path.suffix not in (".onnx", ".pt2"):
        raise ValueError(f"'{path.name}' must end in .onnx or .pt2, which says what to write")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent} to write {path.name} to: create it first")
    if not tolerance >= 0:
        raise ValueError(f"tolerance must not be negative, got {tolerance}")
    if path.suffix == ".onnx" and opset < 18:
        raise ValueError(f"opset must be 18 or newer, got {opset}: torch's exporter is written for those")
