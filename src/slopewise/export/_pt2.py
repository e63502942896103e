"""An exported program as a .pt2 file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from slopewise.export._call import Call
from slopewise.export._dynamic import names_of, renamed
from slopewise.export._program import input_shapes, prelu_calls, slope_names
from slopewise.export._report import Shape, Written


def write(
    program: torch.export.ExportedProgram, call: Call, outputs: Sequence[str], aliases: Mapping[str, str], path: Path
) -> Written:
    """Save a program; `outputs` and `aliases` are the names for its outputs and slopes in the report."""
    symbols = names_of(input_shapes(program), call)

    def shape(node: torch.fx.Node) -> Shape:
        return renamed(node.meta["val"].shape, symbols)

    torch.export.save(program, path)
    signature, nodes = program.graph_signature, {node.name: node for node in program.graph.nodes}
    names = slope_names(program, aliases)
    slopes = prelu_calls(program)
    return Written(
        "torch.export",
        None,
        {name: shape(nodes[name]) for name in signature.user_inputs if isinstance(name, str) and name in nodes},
        {name: shape(nodes[own]) for name, own in zip(outputs, signature.user_outputs, strict=True)},
        len(slopes),
        {names.get(name, node.name): shape(node) for name, node in slopes.items()},
    )
