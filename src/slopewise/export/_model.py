"""A model into a file that needs neither slopewise nor the model's code, and the proof that it computes the same."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from slopewise.errors import nearest
from slopewise.export import _onnx, _pt2
from slopewise.export._call import Call, Example
from slopewise.export._dynamic import DynamicShapes, freed
from slopewise.export._error import ExportError, ExportWarning
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

    The suffix of `path` says what is written: `.onnx` a graph for ONNX Runtime, OpenVINO, TensorRT, ncnn and others,
    `.pt2` a program of `torch.export` for PyTorch, ExecuTorch, LiteRT and Core ML. Both hold operations of ONNX's and
    PyTorch's own alone; neither needs slopewise. The model is exported as it computes in evaluation mode, and left as
    it is.

    In ONNX each PReLU is one PRelu node whose slopes are a constant, named as in the model, with as many dimensions as
    the node's input: shape (1, C, 1, 1) for (N, C, H, W), (1, C) for (N, C), (1, 1, C) for tokens (`channel_dim=-1`),
    and ones alone for a shared slope. In a program each PReLU computes on four dimensions, through views. Slopes with
    bounds are those in use.

    Args:
        model: torch.nn.Module of any layers. torch.compile's and data-parallel wrappers are looked through.
        example_inputs: Tensor, tuple of positional inputs, or dict of keyword inputs.
        path: file that ends in `.onnx` or `.pt2`. One that is there is replaced once the new one has proved right.
        dynamic_batch: let dimension 0 have any size, in every input whose dimension 0 is as long as the first's.
        dynamic_shapes: further dimensions that may have any size, as torch.export takes them: for each input by its
            name in `forward` (or, in a tuple, by its place) a dict of dimensions and names, such as
            `{"x": {2: "height", 3: "width"}}`. Dimensions with one name always have one size. In place of a name, a
            `torch.export.Dim` may say a range, which ExecuTorch needs to plan its memory, and None fixes a size.
        check_with: names of further runtimes in which to prove the file: "onnxruntime", "openvino", "ncnn", "litert",
            "executorch", "torch". Each needs its packages. A runtime that reads the other of the two formats is given
            the same program in that one.
        opset: version of ONNX's operators, 18 or newer. No meaning for `.pt2`.
        tolerance: the largest difference allowed, relative to the greatest magnitude of the output it is in.
        keep_transpositions: leave the transpositions around a PRelu whose channels are elsewhere than in dimension 1.
            ncnn needs them; others are faster without.
        external_data: put the weights of an ONNX file into a second one, `path` with `.data` added. Above 1.5 GiB,
            near the limit of what one ONNX file can hold, that is done anyway.
        verbose: show what the exporters print and warn of.

    Returns:
        What was written, and the differences measured in each runtime: on the example, on one sample and on one sample
        more than the example's if the batch is dynamic, and with these on two other sizes of every dimension in
        `dynamic_shapes`. Runtimes that round more by default are measured as they are by default as well.

    Raises:
        ExportError: the model has no values, cannot be traced or translated, fixes a size that is to be free, a
            runtime cannot run the file, or a difference exceeds the tolerance. At `path` is then nothing, or what was
            there.
        ValueError: `path` has another suffix, `opset` is below 18, `tolerance` is negative, `check_with` has an unknown
            name, or `dynamic_shapes` does not fit the inputs.
        FileNotFoundError: the folder of `path` does not exist.
        TypeError: `example_inputs` is something else, or holds no tensor.
        ModuleNotFoundError: ONNX needs ``pip install 'slopewise[export]'``, and a runtime in `check_with` its packages.

    Warns:
        ExportWarning: a runtime is right in float32 and far off at the precision that it chooses by default.

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
    """The ONNX file of a model that is written as .pt2, made for the first runtime that needs it."""
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
