"""Rewriting by torch.fx: a module's forward pass as a graph, edited, and given back to the module as its code.

Loops are unrolled and helper functions seen through, but what the graph does is fixed: a forward pass that depends on
values, or on the training mode other than through its submodules, cannot be rewritten so.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from torch import fx, nn

from slopewise._activations import kind_of_function
from slopewise._flow import Call, Op
from slopewise.convert._rewritten import CannotRewriteError, Method, rewrite_


class _Tracer(fx.Tracer):
    """Looks into the module traced, and into those of its submodules that are named."""

    def __init__(self, opened: Collection[nn.Module]) -> None:
        super().__init__()
        self.opened = opened

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:  # noqa: ARG002 - torch's signature
        return not any(m is module for module in self.opened)


def traced(owner: nn.Module, opened: Collection[nn.Module] = ()) -> fx.Graph:
    """The graph of a module's forward pass, submodules as they are called.

    Args:
        owner: the module.
        opened: submodules whose own forward pass is to be part of the graph.

    Raises:
        CannotRewriteError: the forward pass is not one graph, or another one in training.
    """
    modes = {module: module.training for module in owner.modules()}
    graphs = []
    try:
        for training in (True, False):
            owner.train(training)
            graphs.append(_Tracer(opened).trace(owner))
    except Exception as error:  # a forward pass can raise anything when it meets no tensors
        reason = (str(error).splitlines() or [""])[0]
        raise CannotRewriteError(f"torch.fx cannot trace {type(owner).__name__}: {reason}") from error
    finally:
        for module, mode in modes.items():
            module.training = mode
    if graphs[0].python_code("self").src != graphs[1].python_code("self").src:
        raise CannotRewriteError(f"the forward pass of {type(owner).__name__} is another one in training")
    return graphs[0]


def put_back_(owner: nn.Module, graph: fx.Graph) -> None:
    """Let a graph be the module's forward pass."""
    graph.lint()
    code = graph.python_code("self")
    text = code.src.strip() + "\n"
    used = {name: value for name, value in code.globals.items() if re.search(rf"\b{re.escape(name)}\b", text)}
    rewrite_(owner, Method("forward", text, used))


def rewrite_graph_(owner: nn.Module, passes: Sequence[Call], edits: dict[int, str]) -> None:
    """Let the forward pass call submodules at some of its steps.

    Args:
        owner: the module.
        passes: calls of it that were watched.
        edits: by the number of a step, the submodule to be called on the same input.

    Raises:
        CannotRewriteError: as in `traced`, or the graph is not what was watched. Nothing is changed then.
    """
    graph = traced(owner)
    wanted = [node for node in graph.nodes if _seen_in(owner, node) is not None]
    for call in passes:
        steps = [step for step in call.steps if _seen(step) is not None]
        if [_seen(step) for step in steps] != [_seen_in(owner, node) for node in wanted]:
            raise CannotRewriteError(f"torch.fx sees another forward pass of {type(owner).__name__} than was run")
    steps = passes[0].steps
    nodes = dict(zip([n for n, step in enumerate(steps) if _seen(step) is not None], wanted, strict=True))
    for number, attribute in edits.items():
        node = nodes[number]
        given = node.args[0] if node.args else next(iter(node.kwargs.values()))
        with graph.inserting_before(node):
            instead = graph.call_module(attribute, (given,))
        node.replace_all_uses_with(instead)
        graph.erase_node(node)
    put_back_(owner, graph)


def _seen(step: Op | Call) -> object:
    """What a step and a node of the graph are matched by."""
    if isinstance(step, Call):
        return step.module
    kind = kind_of_function(step.function)
    return None if kind is None else kind.name


def _seen_in(owner: nn.Module, node: fx.Node) -> object:
    if node.op == "call_module":
        return owner.get_submodule(str(node.target))
    kind = kind_of_function(node.target) if node.op in ("call_function", "call_method") else None
    return None if kind is None else kind.name
