"""Static quantisation of an ONNX file to int8 with ONNX Runtime, and the resulting differences of its outputs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from slopewise.errors import ExportError
from slopewise.export._call import Call, Example
from slopewise.export._error import reason
from slopewise.export._files import new_files
from slopewise.export._program import quiet
from slopewise.export.runtimes._onnxruntime import session
from slopewise.support import need, printed

_Feed = dict[str, Any]


@dataclass(frozen=True)
class QuantizationReport:
    """Result of quantising a file; ``str()`` is a table.

    Attributes:
        path: The quantised file.
        samples: Number of samples of the calibration, on which `sqnr` and `relative` are measured.
        sqnr: Signal-to-noise ratio 10·log₁₀(Σ y² / Σ (ŷ − y)²) in decibels of each output, with y from the float file.
        relative: Largest relative difference max|ŷ − y| / max|y| of each output.
        prelu_nodes: Number of PRelu nodes, which compute in float between int8 tensors.
        size: Size of the quantised file in bytes.
        size_before: Size of the float file in bytes.
    """

    path: Path
    samples: int
    sqnr: Mapping[str, float]
    relative: Mapping[str, float]
    prelu_nodes: int
    size: int
    size_before: int

    def __str__(self) -> str:
        sizes = f"{self.size / 2**20:.2f} MiB, before {self.size_before / 2**20:.2f} MiB"
        lines = [
            f"{self.path.name}: ONNX in int8, {sizes}",
            f"  PReLU   {self.prelu_nodes} node{'s' * (self.prelu_nodes != 1)}, slopes in float",
            f"  int8 against float on the {self.samples} samples of the calibration",
        ]
        for name, decibels in self.sqnr.items():
            lines.append(f"    {name}: signal to noise {decibels:.1f} dB, largest difference {self.relative[name]:.1e}")
        return printed(lines)


def quantize_onnx(
    path: str | Path, calibration: Iterable[Example], target: str | Path, *, symmetric: bool = False
) -> QuantizationReport:
    """Turn an exported ONNX file into an int8 one, by static quantisation with ONNX Runtime.

    Convolutions, linear layers and additions get int8 weights, one scale per output channel, and int8 activations,
    whose ranges are those observed in the calibration (format QDQ). PRelu nodes stay in float between int8 tensors, so
    that slopes are not rounded: ONNX Runtime has no int8 PRelu.

    Args:
        path: File written by `export_model`; it is not changed.
        calibration: Batches that represent the model's future inputs, each a Tensor, a tuple, or a dict as in
            `export_model`. A few hundred samples are usual.
        target: File to write; an existing one is replaced once the new one has been run.
        symmetric: If True, zero points of activations are also 0, as TensorRT requires; slightly less accurate.

    Returns:
        A report of the outputs' differences. There is no tolerance: acceptable differences depend on the task, so
        evaluate its metric with the new file as well.

    Raises:
        ExportError: there is no calibration batch, or ONNX Runtime cannot quantise or run the file.
        ModuleNotFoundError: ``pip install 'slopewise[export]'``.

    Example:
        >>> import tempfile, slopewise as sw
        >>> from slopewise.export import export_model
        >>> model, batches = sw.ConvBNPReLU(3, 8), [torch.randn(8, 3, 6, 6) for _ in range(4)]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     report = export_model(model, batches[0], folder + "/net.onnx")
        ...     report = quantize_onnx(folder + "/net.onnx", batches, folder + "/net-int8.onnx")
        >>> report.samples, report.sqnr["output"] > 15
        (32, True)
    """
    for module in ("onnx", "onnxruntime"):
        need(module, what="int8", extra="export")
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    path, target = Path(path), Path(target)
    calls = [Call.of(example) for example in calibration]
    if not calls:
        raise ExportError("calibration has no batch: pass some that are like those the model is to see")
    before = session(path)
    names = [value.name for value in before.get_inputs()]
    feeds = [_feed(call, names) for call in calls]
    graph = onnx.load(path, load_external_data=False).graph
    averages = [node.name for node in graph.node if node.op_type == "GlobalAveragePool"]
    with new_files(target) as file, quiet(verbose=False):
        try:
            quantize_static(
                path,
                file,
                _Reader(feeds),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=QuantType.QInt8,
                weight_type=QuantType.QInt8,
                nodes_to_exclude=averages,  # few numbers, for which int8 would cost 0.3 dB
                extra_options={"ActivationSymmetric": symmetric},
            )
        except Exception as error:  # of many classes
            raise ExportError(f"ONNX Runtime cannot quantise {path.name}: {reason(error)}") from error
        after = session(file)
        sqnr, relative = {}, {}
        for name in [value.name for value in before.get_outputs()]:
            sqnr[name], relative[name] = _distance(_output(before, name, feeds), _output(after, name, feeds))
        nodes = sum(node.op_type == "PRelu" for node in onnx.load(file, load_external_data=False).graph.node)
        size = file.stat().st_size
    samples = sum(call.size for call in calls)
    return QuantizationReport(target, samples, sqnr, relative, nodes, size, path.stat().st_size)


class _Reader:
    """Source of calibration batches in the form that ONNX Runtime reads."""

    def __init__(self, feeds: Iterable[_Feed]) -> None:
        self._rest = iter(feeds)

    def get_next(self) -> _Feed | None:
        return next(self._rest, None)


def _feed(call: Call, names: list[str]) -> _Feed:
    given = call.kwargs or dict(zip(names, call.tensors, strict=False))
    if set(given) != set(names):
        raise ExportError(f"a calibration batch has the inputs {', '.join(given)}, and the file {', '.join(names)}")
    return {name: tensor.detach().cpu().numpy() for name, tensor in given.items()}


def _output(session: Any, name: str, feeds: Iterable[_Feed]) -> Tensor:
    return torch.cat([torch.from_numpy(session.run([name], feed)[0]).double().flatten() for feed in feeds])


def _distance(ours: Tensor, theirs: Tensor) -> tuple[float, float]:
    """Return ours over the difference in decibels, and the largest difference relative to our greatest magnitude."""
    noise, signal = (ours - theirs).square().sum().item(), ours.square().sum().item()
    decibels = 10 * math.log10(signal / noise) if noise and signal else math.inf if not noise else -math.inf
    greatest = ours.abs().max().item()
    largest = (ours - theirs).abs().max().item()
    return decibels, largest / greatest if greatest else largest
