"""What an export says of itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from slopewise.export._call import Call

Shape = tuple[int | str, ...]


@dataclass(frozen=True)
class Written:
    """What a writer says of its file; `run` gives the file's outputs. The rest is as in `ExportReport`."""

    format: str
    opset: int | None
    inputs: Mapping[str, Shape]
    outputs: Mapping[str, Shape]
    prelu_nodes: int
    slopes: Mapping[str, Shape]
    run: Callable[[Call], Sequence[Tensor]]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Parity:
    """The largest differences between a file's outputs and the model's on one batch.

    Attributes:
        batch: how many samples.
        absolute: max|theirs − ours| over all outputs.
        relative: max|theirs − ours| / max|ours| of the output where that is largest.
        output: the name of that output.
    """

    batch: int
    absolute: float
    relative: float
    output: str


@dataclass(frozen=True)
class ExportReport:
    """What was written, and how near it is to the model; ``str()`` is a table.

    Attributes:
        path: the file.
        format: "ONNX" or "torch.export".
        opset: the ONNX operator set; None for torch.export.
        inputs: name and shape of each tensor input; dynamic dimensions are names.
        outputs: likewise.
        prelu_nodes: how many PReLU nodes the graph has.
        slopes: name and shape of each constant that they take. Sites that share slopes share a constant.
        parity: for each batch size tried, the example's first.
        tolerance: what the relative differences were allowed to be.
        size: of the file, and of the weights beside it, in bytes.
        notes: what else there is to know.
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
        runtime = "ONNX Runtime" if self.format == "ONNX" else "the loaded program"
        lines.append(f"  largest difference, {runtime} against the model (tolerance {self.tolerance:g} relative)")
        for place, parity in enumerate(self.parity):
            example = " (the example)" if place == 0 else ""
            differences = f"absolute {parity.absolute:.1e}, relative {parity.relative:.1e}"
            lines.append(f"    batch {parity.batch}{example}: {differences}")
        return "\n".join([*lines, *(f"  note: {note}" for note in self.notes)])


def _shape(shape: Shape) -> str:
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"
