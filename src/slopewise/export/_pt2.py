"""An exported program as a .pt2 file."""

from __future__ import annotations

from pathlib import Path

import torch

from slopewise.export._base import Exporter, Options, Source
from slopewise.export._dynamic import names_of, renamed
from slopewise.export._four_dimensional import four_dimensional
from slopewise.export._prelu_calls import prelu_calls, slope_names
from slopewise.export._program import input_shapes
from slopewise.export._report import Shape, Written
from slopewise.export.runtimes import RUNTIMES, Runtime


class ProgramExporter(Exporter):
    """Writes the program itself, with PReLUs on four dimensions, which more of its readers take."""

    suffix = ".pt2"

    @property
    def runtime(self) -> Runtime:
        """PyTorch, which loads the program."""
        return RUNTIMES["torch"]

    def write(self, source: Source, path: Path, options: Options) -> Written:  # noqa: ARG002 - it takes none
        """Save the program."""
        program = four_dimensional(source.program)
        torch.export.save(program, path)
        return _facts(program, source)


def _facts(program: torch.export.ExportedProgram, source: Source) -> Written:
    symbols = names_of(input_shapes(program), source.call)

    def shape(node: torch.fx.Node) -> Shape:
        return renamed(node.meta["val"].shape, symbols)

    signature, nodes = program.graph_signature, {node.name: node for node in program.graph.nodes}
    names = slope_names(program, source.aliases)
    calls = prelu_calls(program)
    return Written(
        "torch.export",
        None,
        {name: shape(nodes[name]) for name in signature.user_inputs if isinstance(name, str) and name in nodes},
        {name: shape(nodes[own]) for name, own in zip(source.outputs, signature.user_outputs, strict=True)},
        len(calls),
        {names.get(call.name, call.slopes.name): shape(call.slopes) for call in calls},
    )
