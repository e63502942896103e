"""An exported program as a .pt2 file, and what PyTorch makes of that file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from slopewise.export._program import prelu_calls, run, slope_names
from slopewise.export._report import Shape, Written


def write(
    program: torch.export.ExportedProgram, path: Path, outputs: Sequence[str], aliases: Mapping[str, str]
) -> Written:
    """Save a program; `outputs` and `aliases` are the names to report its outputs and slopes by."""
    torch.export.save(program, path)
    signature, nodes = program.graph_signature, {node.name: node for node in program.graph.nodes}
    names = slope_names(program, aliases)
    slopes = prelu_calls(program)
    return Written(
        "torch.export",
        None,
        {name: _shape(nodes[name]) for name in signature.user_inputs if isinstance(name, str) and name in nodes},
        {name: _shape(nodes[own]) for name, own in zip(outputs, signature.user_outputs, strict=True)},
        len(slopes),
        {names.get(call, node.name): _shape(node) for call, node in slopes.items()},
        lambda call: run(torch.export.load(path), call),
    )


def _shape(node: torch.fx.Node) -> Shape:
    return tuple(size if isinstance(size, int) else "batch" for size in node.meta["val"].shape)
