"""Export of a model to a file that needs neither slopewise nor the model's code, verified against the model."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from slopewise.errors import ExportError, ExportWarning, nearest
from slopewise.export._base import Exporter, Options, Source
from slopewise.export._call import Call, Example
from slopewise.export._dynamic import DynamicShapes, freed
from slopewise.export._files import new_files
from slopewise.export._four_dimensional import four_dimensional
from slopewise.export._named import exporter_of
from slopewise.export._parity import check, rough
from slopewise.export._program import as_deployed, captured, first_names, outputs, quiet, unwrapped
from slopewise.export._report import ExportReport
from slopewise.export._sizes import variants
from slopewise.export.runtimes import RUNTIMES, Exported, Runtime
from slopewise.support import need

_UNCHECKED = ("tensorrt",)  # runtimes that docs/runtimes.md describes, and `check_with` does not know


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
        path: File to write, which ends in `.onnx`, `.pt2` or the suffix of a registered exporter. An existing file is
            replaced once the new one is verified.
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
            and OpenCV need them; other runtimes are faster without.
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
            No exporter writes the suffix of `path`, `opset` is below 18, `tolerance` is negative, or `check_with` has
            an unknown name.
        ValueError: `dynamic_shapes` does not fit the inputs. (An ExportError is a ValueError, too.)
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
    path, options = Path(path), Options(opset, keep_transpositions, external_data, verbose)
    exporter = _checked(path, options, tolerance)
    runtimes = _runtimes(exporter, check_with)
    writers = {exporter.suffix: exporter}
    if any(runtime.reads_onnx for runtime in runtimes.values()):
        writers.setdefault(".onnx", exporter_of("model.onnx"))
    for writer in writers.values():
        for module in writer.packages:
            need(module, what=f"export to {writer.suffix}", extra=writer.extra)
    call = Call.of(example_inputs)
    model = unwrapped(model)
    if any(tensor.is_meta for tensor in itertools.chain(model.parameters(), model.buffers())):
        raise ExportError("the model is on the meta device, where it has no values: load them first")
    notes: tuple[str, ...] = ()
    if any(module.training for module in model.modules()):
        notes = ("the model is in training mode; what was exported is its evaluation mode",)
    call = freed(model, call, dynamic_shapes, dynamic_batch=dynamic_batch)
    with as_deployed(model), new_files(path) as file, TemporaryDirectory() as folder, quiet(verbose):
        names, aliases = list(outputs(model, call)), first_names(model)  # the model's own errors come first
        program = captured(model, call)
        calls, size_notes = variants(model, program, call)
        source = Source(program, call, names, aliases)
        written = exporter.write(source, file, options)
        exported = Exported(
            file,
            lambda: file if exporter.suffix == ".onnx" else _once(writers[".onnx"], source, folder, options),
            lambda: torch.export.load(file) if exporter.suffix == ".pt2" else four_dimensional(program),
            Path(folder),
        )
        measured, defaults = check(model, program, exported, runtimes, calls, tolerance)
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
        notes + size_notes + written.notes,
        {name: runtime.version() for name, runtime in runtimes.items()},
        defaults,
    )


def _once(exporter: Exporter, source: Source, folder: str, options: Options) -> Path:
    """Return the ONNX file of a model that is exported in another format, written for the first that needs it."""
    path = Path(folder, "model.onnx")
    if not path.exists():
        exporter.write(source, path, options)
    return path


def _runtimes(exporter: Exporter, check_with: str | Iterable[str]) -> dict[str, Runtime]:
    """Return the exporter's own runtime and those asked for, by name."""
    asked = [check_with] if isinstance(check_with, str) else list(check_with)
    for name in asked:
        if str(name).lower() in _UNCHECKED:
            raise ExportError(
                f"check_with has '{name}', in which files are not checked: docs/runtimes.md has what it takes and how "
                f"to compare; files are checked in {', '.join(RUNTIMES)}"
            )
        if name not in RUNTIMES:
            raise ExportError(f"check_with has '{name}': {nearest(str(name), RUNTIMES)}")
        RUNTIMES[name].require()
    native = exporter.runtime
    return {native.name: native} | {name: RUNTIMES[name] for name in asked}


def _checked(path: Path, options: Options, tolerance: float) -> Exporter:
    """Return the exporter of the path, which can use the options."""
    exporter = exporter_of(path.name)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent} to write {path.name} to: create it first")
    if not tolerance >= 0:
        raise ExportError(f"tolerance must not be negative, got {tolerance}")
    exporter.check(options)
    return exporter
