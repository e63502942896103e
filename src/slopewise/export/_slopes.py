"""The slopes of an ONNX graph: constants of the shape that runtimes take, named as in the model.

ONNX broadcasts a slope to the last dimensions of its input. OpenVINO, MNN and onnx2torch take a slope of one dimension
for one per channel of dimension 1 instead, so that they apply (C,) for tokens (N, L, C) along L. A slope with as many
dimensions as the input has the same meaning everywhere: (1, C, 1, 1) for (N, C, H, W), (1, 1, C) for tokens. TensorRT
on DLA requires such slopes, as constants
(https://docs.nvidia.com/deeplearning/tensorrt/latest/_static/operators/ParametricReLU.html), as does ONNX Runtime's
WebNN on the CPU (https://github.com/microsoft/onnxruntime/pull/17543).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import onnx_ir as ir


def prelu_nodes(model: ir.Model) -> list[ir.Node]:
    """Return all PRelu nodes, including those in subgraphs."""
    return [node for node in model.graph.all_nodes() if node.op_type == "PRelu"]


def operand(node: ir.Node, place: int) -> ir.Value:
    """Return an input of a node, which the node's operator must have."""
    value = node.inputs[place]
    assert value is not None  # noqa: S101
    return value


def place_slopes(model: ir.Model, names: dict[str, str], *, keep_transpositions: bool = False) -> None:
    """Make the slope of every PRelu a constant of its input's rank, without transpositions around the node.

    Args:
        model: Graph as torch's exporter left it; changed in place.
        names: Name of the slopes, by the name of the node in the exported program.
        keep_transpositions: If True, existing transpositions are kept.
    """
    from onnx_ir.passes.common import RemoveUnusedNodesPass
    from onnxscript.optimizer import fold_constants

    chains = {producer for node in prelu_nodes(model) for producer in _producers(operand(node, 1))}
    if chains:  # the exporter's own folding stops at a size
        fold_constants(model, should_fold=lambda node: node in chains)
    for node in prelu_nodes(model):
        slopes = constant(operand(node, 1))
        if slopes is None:
            continue
        shape = operand(node, 0).shape
        if shape is not None and len(shape):
            slopes = slopes.reshape((1,) * (len(shape) - slopes.ndim) + slopes.shape)
            if not keep_transpositions:
                slopes = _without_transpositions(node, slopes)
        _replace(model, node, slopes, names.get(str(node.name).removeprefix("node_")))
    RemoveUnusedNodesPass()(model)


def _producers(slopes: ir.Value) -> Iterator[ir.Node]:
    """Yield all nodes that compute a value, if it depends on constants alone; otherwise none."""
    nodes: set[ir.Node] = set()
    waiting: list[ir.Value | None] = [slopes]
    while waiting:
        value = waiting.pop()
        if value is None or value.const_value is not None:
            continue
        node = value.producer()
        if node is None:  # an input of the model
            return
        nodes.add(node)
        waiting += node.inputs
    yield from nodes


def constant(value: ir.Value) -> np.ndarray | None:
    """Return a value of the graph if it is known without the inputs, otherwise None."""
    from onnx_ir.convenience import get_const_tensor

    tensor = get_const_tensor(value)
    return None if tensor is None else tensor.numpy()


def _without_transpositions(node: ir.Node, slopes: np.ndarray) -> np.ndarray:
    """Remove operations before a PRelu that operations after it undo, and return the slopes without them.

    An elementwise function commutes with them: T⁻¹(f(T(x))) = f'(x), where f' has its slopes moved by T⁻¹.
    """
    while True:
        before, after = operand(node, 0).producer(), _only_consumer(node.outputs[0])
        if before is None or after is None:
            return slopes
        if before.op_type == after.op_type == "Transpose":
            there, back = (tuple(one.attributes["perm"].as_ints()) for one in (before, after))
            if tuple(there[axis] for axis in back) != tuple(range(len(there))):
                return slopes
            slopes = slopes.transpose(back)
        elif (before.op_type, after.op_type) == ("Unsqueeze", "Squeeze"):
            added, removed = (constant(operand(one, 1)) for one in (before, after))
            if added is None or removed is None or added.tolist() != removed.tolist():
                return slopes
            if any(slopes.shape[axis] != 1 for axis in added.tolist()):
                return slopes
            slopes = slopes.squeeze(tuple(added.tolist()))
        else:
            return slopes
        node.replace_input_with(0, before.inputs[0])
        _take_over(node.outputs[0], after.outputs[0])


def _only_consumer(value: ir.Value) -> ir.Node | None:
    consumers = value.consumers()
    return consumers[0] if len(consumers) == 1 and not value.is_graph_output() else None


def _take_over(value: ir.Value, other: ir.Value) -> None:
    """Replace `other` by `value`, and remove the node of `other`."""
    value.shape, value.type = other.shape, other.type
    if other.is_graph_output():
        value.name, other.name = other.name, value.name
    other.replace_all_uses_with(value, replace_graph_outputs=True)
    node = other.producer()
    assert node is not None  # noqa: S101
    assert node.graph is not None  # noqa: S101
    node.graph.remove(node, safe=True)


def _replace(model: ir.Model, node: ir.Node, slopes: np.ndarray, name: str | None) -> None:
    import numpy as np
    import onnx_ir as ir

    known = model.graph.initializers
    name = name or f"{node.name or 'PRelu'}.slope"
    plain, number = name, 1
    while name in known:
        existing = known[name].const_value
        if existing is not None and existing.shape == slopes.shape and np.array_equal(existing.numpy(), slopes):
            node.replace_input_with(1, known[name])
            return
        number += 1
        name = f"{plain}_{number}"
    value = ir.Value(name=name, const_value=ir.tensor(slopes, name=name))
    value.shape, value.dtype = ir.Shape(slopes.shape), ir.tensor(slopes).dtype
    model.graph.register_initializer(value)
    node.replace_input_with(1, value)
