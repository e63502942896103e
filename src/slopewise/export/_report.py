"""Report of an export."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from slopewise.export.runtimes import RUNTIMES
from slopewise.support import printed

Shape = tuple[int | str, ...]


@dataclass(frozen=True)
class Written:
    """Facts about a file from the function that wrote it, as in `ExportReport`."""

    format: str
    opset: int | None
    inputs: Mapping[str, Shape]
    outputs: Mapping[str, Shape]
    prelu_nodes: int
    slopes: Mapping[str, Shape]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Parity:
    """The largest differences between a file's outputs and the model's on one batch in one runtime.

    Attributes:
        batch: Number of samples.
        absolute: Largest absolute difference max|theirs − ours| over all outputs.
        relative: Largest relative difference of any output, max|theirs − ours| / max|ours|.
        output: Name of the output with the largest relative difference.
        runtime: Name of the runtime in `check_with`; "torch" for a loaded .pt2 file.
        sizes: Size of each free dimension, by its name.
    """

    batch: int
    absolute: float
    relative: float
    output: str
    runtime: str = ""
    sizes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class ExportReport:
    """Description of the exported file, and its differences from the model; ``str()`` is a table.

    Attributes:
        path: The exported file.
        format: Format of the file, "ONNX" or "torch.export".
        opset: Version of ONNX's operators; None for torch.export.
        inputs: Name and shape of each tensor input; dynamic dimensions are names.
        outputs: Name and shape of each output; dynamic dimensions are names.
        prelu_nodes: Number of PReLU nodes in the graph.
        slopes: Name and shape of each constant with their slopes. Call sites that share slopes share a constant.
        parity: Differences in each runtime and for each size tried, the example's first.
        tolerance: Largest relative difference that was allowed.
        size: Total size in bytes of the file and of a second file with its weights.
        notes: Notes for the reader.
        runtimes: Version of each runtime that the file was checked in, by its name.
        default_precision: Differences at default precision, for runtimes that round more by default.
    """

    path: Path
    format: str
    opset: int | None
    inputs: Mapping[str, Shape]
    outputs: Mapping[str, Shape]
    prelu_nodes: int
    slopes: Mapping[str, Shape]
    parity: tuple[Parity, ...]
    tolerance: float
    size: int
    notes: tuple[str, ...] = ()
    runtimes: Mapping[str, str] = field(default_factory=dict)
    default_precision: tuple[Parity, ...] = ()

    def __str__(self) -> str:
        opset = f", opset {self.opset}" if self.opset is not None else ""
        lines = [f"{self.path.name}: {self.format}{opset}, {self.size / 2**20:.2f} MiB"]
        lines += [f"  input   {name} {_shape(shape)}" for name, shape in self.inputs.items()]
        lines += [f"  output  {name} {_shape(shape)}" for name, shape in self.outputs.items()]
        counted = Counter(map(_shape, self.slopes.values()))
        shapes = ", ".join(shape if count == 1 else f"{count} x {shape}" for shape, count in counted.items())
        lines.append(
            f"  PReLU   {self.prelu_nodes} node{'s' * (self.prelu_nodes != 1)}"
            + (f"; slopes {shapes}" if shapes else "")
        )
        lines += [f"  free    {self._free()}"]
        for name, version in self.runtimes.items():
            lines.append(
                f"  largest difference, {_title(name)} {version} against the model "
                f"(tolerance {self.tolerance:g} relative)"
            )
            lines += _differences(self.parity, name)
            if any(one.runtime == name for one in self.default_precision):
                lines.append(f"  the same at the precision that {_title(name)} chooses by default")
                lines += _differences(self.default_precision, name)
        return printed([*lines, *(f"  note: {note}" for note in self.notes)])

    def _free(self) -> str:
        sizes = [size for shape in self.inputs.values() for size in shape]
        names = list(dict.fromkeys(size for size in sizes if isinstance(size, str)))
        fixed = "all other sizes are fixed" if any(isinstance(size, int) for size in sizes) else "no size is fixed"
        return f"{', '.join(names)}; {fixed}" if names else "none: all sizes are fixed"


def _differences(parity: Sequence[Parity], runtime: str) -> list[str]:
    lines = []
    for place, one in enumerate(one for one in parity if one.runtime == runtime):
        example = " (the example)" if place == 0 else ""
        others = "".join(f", {name} {size}" for name, size in one.sizes.items() if name != "batch")
        differences = f"absolute {one.absolute:.1e}, relative {one.relative:.1e}"
        lines.append(f"    batch {one.batch}{others}{example}: {differences}")
    return lines


def _title(runtime: str) -> str:
    """Return the title of a runtime; an exporter's own, which `check_with` does not name, goes by its name."""
    return RUNTIMES[runtime].title if runtime in RUNTIMES else runtime


def _shape(shape: Shape) -> str:
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"
