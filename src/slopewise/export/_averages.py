"""Spatial averages as GlobalAveragePool, a node that every runtime for image networks supports.

torch's exporter writes `x.mean((2, 3))` and `AdaptiveAvgPool2d(1)` as ReduceMean, whose axes became an input in opset
18: some readers accept only the older form (onnx2torch 1.5), and others compute a general reduction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from slopewise.export._slopes import constant, operand

if TYPE_CHECKING:
    import onnx_ir as ir


def place_averages(model: ir.Model) -> None:
    """Replace each ReduceMean over dimensions 2 and up of (N, C, ...) by GlobalAveragePool, flattened if it was."""
    for node in list(model.graph.all_nodes()):
        if node.op_type == "ReduceMean" and node.domain == "" and _is_global(node):
            _replace(node)


def _is_global(node: ir.Node) -> bool:
    shape = operand(node, 0).shape
    axes = constant(node.inputs[1]) if len(node.inputs) > 1 and node.inputs[1] is not None else None
    if shape is None or axes is None or len(shape) < 3:
        return False
    if len(shape) == 3 and _keeps_dimensions(node):  # the mean of a layer normalisation, written out
        return False
    return sorted(axis % len(shape) for axis in axes.tolist()) == list(range(2, len(shape)))


def _keeps_dimensions(node: ir.Node) -> bool:
    return "keepdims" not in node.attributes or bool(node.attributes["keepdims"].as_int())


def _replace(node: ir.Node) -> None:
    import onnx_ir as ir
    from onnx_ir.convenience import replace_nodes_and_values

    given, mean = operand(node, 0), node.outputs[0]
    assert given.shape is not None  # noqa: S101
    pooled = ir.Node("", "GlobalAveragePool", [given], name=node.name)
    pooled.outputs[0].type, nodes = mean.type, [pooled]
    pooled.outputs[0].shape = ir.Shape([*given.shape[:2], *[1] * (len(given.shape) - 2)])
    if not _keeps_dimensions(node):
        pooled.outputs[0].name = f"{mean.name}_pooled"
        nodes.append(ir.Node("", "Flatten", [pooled.outputs[0]], [ir.AttrInt64("axis", 1)], name=f"{node.name}_flat"))
    assert node.graph is not None  # noqa: S101
    replace_nodes_and_values(node.graph, node, [node], nodes, [mean], [nodes[-1].outputs[0]])
