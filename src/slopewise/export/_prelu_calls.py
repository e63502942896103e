"""Calls of PReLU in an exported program, and the tensors that their slopes come from.

Where a forward pass enters autocast, no_grad, a checkpoint or a condition, torch.export puts the operations into a
subgraph, which a *higher-order* operation calls: `wrap_with_autocast(..., submod_1, x, p_act_weight)`. The placeholders
of the subgraph stand for the last operands of that call.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch.export import ExportedProgram
from torch.fx import GraphModule, Node

PRELU = (torch.ops.aten.prelu.default, torch.ops.aten._prelu_kernel.default)


@dataclass(frozen=True)
class PReLUCall:
    """A call of PyTorch's PReLU.

    Attributes:
        name: Name of the node, after those of the subgraphs around it: "submod_1.prelu".
        slopes: Node of its slopes.
        source: Placeholder of the program that the slopes are computed from; None if there is not exactly one.
    """

    name: str
    slopes: Node
    source: str | None


def prelu_calls(program: ExportedProgram) -> list[PReLUCall]:
    """Return the calls of PReLU in a program and in its subgraphs, in order."""
    return list(_calls(program.graph_module, {}, ""))


def graphs(root: GraphModule) -> Iterator[GraphModule]:
    """Yield the graph of a program and the subgraphs that its higher-order operations call."""
    return (module for module in root.modules() if isinstance(module, GraphModule))


def slope_names(program: ExportedProgram, aliases: Mapping[str, str]) -> dict[str, str]:
    """Map the name of each PReLU's node to that of the parameter or buffer that its slopes are computed from."""
    signature = program.graph_signature
    tensors = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    found = {call.name: tensors.get(call.source or "") for call in prelu_calls(program)}
    return {call: aliases.get(name, name) for call, name in found.items() if name}


def _calls(module: GraphModule, outside: Mapping[Node, set[str]], prefix: str) -> Iterator[PReLUCall]:
    """Yield the calls in a graph; `outside` holds, for each placeholder, those of the program that it is made from."""
    for node in module.graph.nodes:
        if node.target in PRELU:
            sources = _sources([node.args[1]], outside)
            yield PReLUCall(f"{prefix}{node.name}", node.args[1], sources.pop() if len(sources) == 1 else None)
        parts = _subgraphs(module, node)
        operands = [one for one in _flat(node) if one not in parts]
        for part in parts:
            subgraph = getattr(module, str(part.target))
            inner = [own for own in subgraph.graph.nodes if own.op == "placeholder"]
            matched = dict(zip(reversed(inner), reversed(operands), strict=False))
            given = {own: _sources([operand], outside) for own, operand in matched.items()}
            yield from _calls(subgraph, {own: given.get(own, set()) for own in inner}, f"{prefix}{part.target}.")


def _subgraphs(module: GraphModule, node: Node) -> list[Node]:
    if node.op != "call_function":
        return []
    parts = (one for one in _flat(node) if one.op == "get_attr")
    return [one for one in parts if isinstance(getattr(module, str(one.target), None), GraphModule)]


def _flat(node: Node) -> list[Node]:
    """Return the nodes among a call's operands, in order and as often as they occur."""
    nodes: list[Node] = []
    torch.fx.map_arg((node.args, node.kwargs), nodes.append)
    return nodes


def _sources(waiting: list[Node], outside: Mapping[Node, set[str]]) -> set[str]:
    sources: set[str] = set()
    while waiting:
        node = waiting.pop()
        waiting += node.all_input_nodes
        if node.op == "placeholder":
            sources |= outside.get(node, {node.name})
    return sources
