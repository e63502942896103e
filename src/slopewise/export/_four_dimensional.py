"""PReLU on four dimensions throughout a program, as runtimes for phones need it.

XNNPACK in ExecuTorch 1.5 fails on a PReLU of two or three dimensions, and Core ML's converter (coremltools 9) refuses
two, three and five unless all slopes are equal. Both accept (N, C, L, 1) or (N, C, 1, 1), views of the same memory; the
values are the same.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch.fx import GraphModule, Node

from slopewise.export._prelu_calls import PRELU, graphs

_aten = torch.ops.aten
_Step = tuple[Callable[..., Any], tuple[Any, ...]]


def four_dimensional(program: torch.export.ExportedProgram) -> torch.export.ExportedProgram:
    """Return an equivalent program with PReLU on four dimensions; it shares the weights of the given one."""
    root, signature = copy.deepcopy(program.graph_module), copy.deepcopy(program.graph_signature)
    for node, original in zip(root.graph.nodes, program.graph.nodes, strict=True):
        node.name = original.name  # a copy of `input` is `input_1`
    for module in graphs(root):
        for node in list(module.graph.nodes):
            if node.target in PRELU and _rank(node) not in (0, 1, 4):
                last = _view(module, node)
                if module is root:
                    _rename_output(signature, node.name, last.name)
        module.recompile()
    return torch.export.ExportedProgram(
        root,
        root.graph,
        signature,
        program.state_dict,
        program.range_constraints,
        program.module_call_graph,
        program.example_inputs,
        program.constants,
        verifiers=program.verifiers,
    )


def _rank(node: Node) -> int:
    return int(node.meta["val"].ndim)


def _view(module: GraphModule, node: Node) -> Node:
    """Put views before and after a PReLU; return the last, which has its output's shape."""
    given, rank = node.all_input_nodes[0], _rank(node)
    users = list(node.users)
    there: list[_Step] = [(_aten.unsqueeze.default, (-1,))] * (4 - rank)
    back: list[_Step] = [(_aten.squeeze.dim, (-1,))] * (4 - rank)
    if rank > 4:
        there, back = [(_aten.flatten.using_ints, (3, -1))], [(_aten.reshape_as.default, (given,))]
    with module.graph.inserting_before(node):
        viewed = given
        for target, arguments in there:
            viewed = _call(module, target, (viewed, *arguments), node)
    node.update_arg(0, viewed)
    node.meta["val"] = _value(node.target, node.args)
    last = node
    for target, arguments in back:
        with module.graph.inserting_after(last):
            last = _call(module, target, (last, *arguments), node)
    for user in users:
        user.replace_input_with(node, last)
    return last


def _call(module: GraphModule, target: Callable[..., Any], arguments: tuple[Any, ...], like: Node) -> Node:
    node = module.graph.call_function(target, arguments)
    node.meta = {**like.meta, "val": _value(target, arguments)}
    return node


def _value(target: Any, arguments: tuple[Any, ...]) -> Any:
    """Return the result of an operation for the fake tensors of its arguments."""
    return target(*(one.meta["val"] if isinstance(one, Node) else one for one in arguments))


def _rename_output(signature: torch.export.ExportGraphSignature, old: str, new: str) -> None:
    for spec in signature.output_specs:
        if getattr(spec.arg, "name", None) == old:
            spec.arg = dataclasses.replace(spec.arg, name=new)
