"""Rewriting by torch.fx: a module's forward pass is traced as a graph, edited, and set as the module's new code.

Loops are unrolled and helper functions inlined. The graph is fixed: a forward pass that depends on values, or on the
training mode other than through its submodules, cannot be rewritten in this way.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from torch import fx, nn

from slopewise.activations import Activation, activations_in, kind_of_function, plain_name
from slopewise.convert._rewritten import CannotRewriteError, Method, rewrite_
from slopewise.trace import ModuleCall, OpCall, Value

_FAR, _DEEP = 24, 24  # largest number of operations of an activation that is written out, and of those in a row
# A watched pass names the operators as Python dispatches them (`2 - x` is rsub), fx as functions of `operator`.
_TURNED = {"rsub": "sub", "rdiv": "div", "rtruediv": "div", "rmul": "mul", "radd": "add", "rpow": "pow"}
_SPELLED = {"truediv": "div", "true_divide": "div", "divide": "div", "multiply": "mul", "imul": "mul", "iadd": "add"}


class _Tracer(fx.Tracer):
    """Tracer that inlines the traced module and the given submodules only.

    By default, fx inlines every module that is not of torch.nn, so that its calls would be missing from the graph.
    """

    def __init__(self, opened: Collection[nn.Module]) -> None:
        super().__init__()
        self.opened = opened

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:  # noqa: ARG002 - torch's signature
        return not any(m is module for module in self.opened)


def traced(owner: nn.Module, opened: Collection[nn.Module] = ()) -> fx.Graph:
    """Return the graph of a module's forward pass, in which calls of submodules are nodes.

    Args:
        owner: Module to trace.
        opened: Submodules whose own forward pass is inlined.

    Raises:
        CannotRewriteError: The forward pass cannot be traced, or is a different one in training.
    """
    modes = {module: module.training for module in owner.modules()}
    graphs = []
    try:
        for training in (True, False):
            owner.train(training)
            graphs.append(_Tracer(opened).trace(owner))
    except Exception as error:  # a forward pass can raise anything when it is given fx's proxies instead of tensors
        reason = (str(error).splitlines() or [""])[0]
        raise CannotRewriteError(f"torch.fx cannot trace {type(owner).__name__}: {reason}") from error
    finally:
        for module, mode in modes.items():
            module.training = mode
    # Graphs have no equality; their code is the same if and only if they take the same steps.
    if graphs[0].python_code("self").src != graphs[1].python_code("self").src:
        raise CannotRewriteError(f"the forward pass of {type(owner).__name__} is another one in training")
    return graphs[0]


def put_back_(owner: nn.Module, graph: fx.Graph) -> None:
    """Make a graph the module's forward pass.

    The code is taken from the graph, since a torch.fx.GraphModule would change the module's class and drop its other
    attributes and methods.
    """
    graph.lint()
    code = graph.python_code("self")
    text = code.src.strip() + "\n"
    used = {name: value for name, value in code.globals.items() if re.search(rf"\b{re.escape(name)}\b", text)}
    rewrite_(owner, Method("forward", text, used))


def rewrite_graph_(owner: nn.Module, passes: Sequence[ModuleCall], edits: dict[int, str]) -> None:
    """Rewrite a forward pass so that it calls submodules at some of its steps.

    Args:
        owner: Module to rewrite.
        passes: Watched calls of the module.
        edits: Attribute of the submodule to call on the step's input, by the number of the step.

    Raises:
        CannotRewriteError: The module cannot be traced, or its graph differs from the watched passes. Nothing is
            changed then.
    """
    graph = traced(owner)
    known = [node for node in graph.nodes if _seen_in(owner, node) is not None]
    for call in passes:
        steps = [step for step in call.steps if _seen(step) is not None]
        if [_seen(step) for step in steps] != [_seen_in(owner, node) for node in known]:
            raise CannotRewriteError(f"torch.fx sees another forward pass of {type(owner).__name__} than was run")
    steps = passes[0].steps
    nodes = dict(zip([n for n, step in enumerate(steps) if _seen(step) is not None], known, strict=True))
    written = dict(activations_in(passes[0])) if any(number not in nodes for number in edits) else {}
    sources = {number: _first_input(nodes[number]) for number in edits if number in nodes}
    for number in edits.keys() - nodes.keys():
        nodes[number], sources[number] = _written_out(graph, passes[0], number, written)
    for number, attribute in edits.items():
        node = nodes[number]
        with graph.inserting_before(node):
            call_node = graph.call_module(attribute, (sources[number],))
        node.replace_all_uses_with(call_node)
        sources = {other: call_node if source is node else source for other, source in sources.items()}
        _erase(graph, node, sources[number])
    put_back_(owner, graph)


def _first_input(node: fx.Node) -> Any:
    return node.args[0] if node.args else next(iter(node.kwargs.values()))


def _written_out(
    graph: fx.Graph, call: ModuleCall, number: int, written: Mapping[OpCall | ModuleCall, Activation]
) -> tuple[fx.Node, fx.Node]:
    """Return the nodes of the last operation of an activation that is written out, and of its input.

    Where the same expression occurs several times, the occurrences have the same order in the graph and in the pass.
    """
    activation = written[call.steps[number]]
    form = _form(activation.ops[-1], activation.input)
    alike = [step for step, other in written.items() if other.ops and _form(other.ops[-1], other.input) == form]
    nodes = [(node, source) for node in graph.nodes for source in _behind(node) if _form(node, source) == form]
    if len(nodes) != len(alike):
        raise CannotRewriteError(f"torch.fx sees another forward pass of {type(call.module).__name__} than was run")
    return nodes[alike.index(call.steps[number])]


def _erase(graph: fx.Graph, node: fx.Node, source: object) -> None:
    """Erase a node, and the nodes between it and its source that nothing else uses."""
    before = [given for given in node.all_input_nodes if given is not source and given.op != "placeholder"]
    graph.erase_node(node)
    for given in before:
        if not given.users:
            _erase(graph, given, source)


def _behind(node: fx.Node) -> list[fx.Node]:
    """Return the nodes from which a node is computed, nearest first, as far as an activation may extend."""
    sources: dict[fx.Node, None] = {}
    ahead = [node]
    while ahead and len(sources) < _FAR:
        for source in ahead.pop(0).all_input_nodes:
            if source not in sources:
                sources[source] = None
                ahead.append(source)
    return list(sources)


def _form(step: OpCall | fx.Node, source: Value | fx.Node, depth: int = 0) -> object:
    """Return the expression by which a step computes its result from a value, equal for a pass and a graph."""
    if isinstance(step, OpCall):
        name, args, kwargs = plain_name(step), step.args, step.kwargs
    else:
        target = step.target
        spelled = target if isinstance(target, str) else getattr(target, "__name__", str(target))
        name, args, kwargs = spelled.partition(".")[0].strip("_"), step.args, step.kwargs

    def given(argument: object) -> object:
        if argument is source:
            return "input"
        if isinstance(argument, Value):
            return (
                "constant"
                if argument.producer is None or depth > _DEEP
                else _form(argument.producer, source, depth + 1)
            )
        if isinstance(argument, fx.Node):
            known = argument.op in ("call_function", "call_method") and depth <= _DEEP
            return _form(argument, source, depth + 1) if known else "constant"
        return float(argument) if isinstance(argument, (bool, int, float)) else str(argument)

    parts = [given(argument) for argument in args]
    name = name.strip("_")
    if name in _TURNED:
        name, parts = _TURNED[name], parts[::-1]
    name = _SPELLED.get(name, name)
    return (
        name,
        tuple(sorted(parts, key=str) if name in ("add", "mul") else parts),
        tuple(sorted((key, given(value)) for key, value in kwargs.items())),
    )


def _seen(step: OpCall | ModuleCall) -> object:
    """Return the module or kind of function by which a step is matched with a node; None if it is not matched."""
    if isinstance(step, ModuleCall):
        return step.module
    kind = kind_of_function(step.function)
    return None if kind is None else kind.name


def _seen_in(owner: nn.Module, node: fx.Node) -> object:
    """Return the same for a node of the graph."""
    if node.op == "call_module":
        return owner.get_submodule(str(node.target))
    kind = kind_of_function(node.target) if node.op in ("call_function", "call_method") else None
    return None if kind is None else kind.name
