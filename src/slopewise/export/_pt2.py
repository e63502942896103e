"""An exported program as a .pt2 file, and what PyTorch makes of that file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from slopewise.export._program import run
from slopewise.export._report import Shape, Written

_PRELU = (torch.ops.aten.prelu.default, torch.ops.aten._prelu_kernel.default)


def write(program: torch.export.ExportedProgram, path: Path, outputs: Sequence[str]) -> Written:
    """Save a program; `outputs` are the names to report its outputs by."""
    torch.export.save(program, path)
    signature, nodes = program.graph_signature, {node.name: node for node in program.graph.nodes}
    held = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    slopes = [node.args[1] for node in nodes.values() if node.target in _PRELU]
    return Written(
        "torch.export",
        None,
        {name: _shape(nodes[name]) for name in signature.user_inputs if isinstance(name, str) and name in nodes},
        {name: _shape(nodes[own]) for name, own in zip(outputs, signature.user_outputs, strict=True)},
        len(slopes),
        {held.get(slope.name, slope.name): _shape(slope) for slope in slopes},
        lambda call: run(torch.export.load(path), call),
    )


def _shape(node: torch.fx.Node) -> Shape:
    return tuple(size if isinstance(size, int) else "batch" for size in node.meta["val"].shape)
