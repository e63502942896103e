"""A model's operations without running it: the graph of torch.fx in the form of a recorded forward pass.

Shapes are unknown here: a value has the shape ().
"""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import Tensor, fx, nn

from slopewise.errors import ModelError
from slopewise.trace import DESCRIPTIONS, ForwardTrace, ModuleCall, OpCall, Value, is_whole, undisturbed


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:  # noqa: ARG002 - torch's signature
        return is_whole(m)


def symbolic(model: nn.Module) -> ForwardTrace:
    """Trace the forward pass in evaluation mode with torch.fx.

    Raises:
        ModelError: torch.fx cannot trace the model.
    """
    with undisturbed(model):
        model.eval()
        try:
            graph = _Tracer().trace(model)
        except Exception as error:  # a forward pass can raise anything when it meets no tensors
            reason = (str(error).splitlines() or [""])[0]
            raise ModelError(
                f"torch.fx cannot trace {type(model).__name__} ({reason}): pass example_inputs, with which the model "
                "is run instead"
            ) from error
    values: dict[fx.Node, Value] = {}
    root = ModuleCall(model, None, None)
    for node in graph.nodes:
        if node.op == "placeholder":
            values[node] = _value()
            root.inputs.append(values[node])
        elif node.op == "get_attr":
            values[node] = _value(shape=tuple(getattr(_attribute(model, node.target), "shape", ())))
        elif node.op == "output":
            output = OpCall("output", None, root, None)
            _connect(output, node, values)
        elif node.target is getattr or node.target in DESCRIPTIONS:
            values[node] = _value()
        else:
            op = _op(model, root, node)
            _connect(op, node, values)
            op.outputs.append(_value(op))
            values[node] = op.outputs[0]
            root.steps.append(op if op.function is not None else op.call)
            if _is_inplace(op):  # the graph keeps naming the tensor by the node that made it
                values[node.all_input_nodes[0]] = op.outputs[0]
    return ForwardTrace(root, output)


def _value(producer: OpCall | None = None, shape: tuple[int, ...] = ()) -> Value:
    return Value(shape, torch.get_default_dtype(), torch.device("cpu"), producer)


def _attribute(model: nn.Module, target: str) -> Any:
    owner, _, name = target.rpartition(".")
    return getattr(model.get_submodule(owner), name)


def _op(model: nn.Module, root: ModuleCall, node: fx.Node) -> OpCall:
    if node.op == "call_module":
        call = ModuleCall(model.get_submodule(str(node.target)), root, None)
        call.op = OpCall(type(call.module).__name__, None, call, None, inputs=call.inputs)
        return call.op
    stack = list(node.meta.get("nn_module_stack", {}).values())
    owner = model.get_submodule(stack[-1][0]) if stack else model
    function: Any = getattr(Tensor, str(node.target)) if node.op == "call_method" else node.target
    return OpCall(getattr(function, "__name__", str(function)), function, ModuleCall(owner, root, None), None)


def _connect(op: OpCall, node: fx.Node, values: dict[fx.Node, Value]) -> None:
    def value_of(argument: fx.Node) -> Value:
        value = values[argument]
        op.inputs.append(value)
        value.users.append(op)
        return value

    op.args, op.kwargs = fx.node.map_arg((node.args, node.kwargs), value_of)  # type: ignore[arg-type]


def _is_inplace(op: OpCall) -> bool:
    if op.function is None:
        return bool(getattr(op.call.module, "inplace", False))
    named = op.name.endswith("_") and not op.name.endswith("__")
    return named or bool(op.kwargs.get("inplace")) or op.function in (operator.iadd, operator.isub, operator.imul)
