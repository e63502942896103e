"""Batch normalisation and the PReLU after it, with or without a residual between them, fused into one layer.

Watched passes show that nothing else needs the value between them. The PReLU may also be inside the normalisation, as
in timm's BatchNormAct2d.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from torch import fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from slopewise.convert._fixed import Fixed, fixed, values_of_inputs
from slopewise.convert._fuse_subclass import plain_of
from slopewise.convert._graph import put_back_, traced
from slopewise.convert._refusal import StaysError
from slopewise.convert._rewritten import CannotRewriteError
from slopewise.convert._swap import has_hooks, names_of, set_module
from slopewise.nn import BatchNormPReLU, BatchNormPReLU1d, BatchNormPReLU2d, BatchNormPReLU3d, PReLU
from slopewise.trace import ForwardTrace, ModuleCall, OpCall, Value

_FUSED: dict[type[nn.Module], type[BatchNormPReLU]] = {
    fused.stock: fused for fused in (BatchNormPReLU1d, BatchNormPReLU2d, BatchNormPReLU3d)
}
_PAST = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
_SUMS = frozenset(("add", "add_", "__add__", "__iadd__", "__radd__", "iadd"))


@dataclass(frozen=True)
class Fusion:
    """A pair of normalisation and PReLU.

    Attributes:
        activation: Name of the PReLU.
        normalisation: Name of the normalisation, which the fused layer gets.
        residual: True if a residual is added between the two.
        why_not: Reason for which the pair was not fused; None if it was.
    """

    activation: str
    normalisation: str
    residual: bool
    why_not: str | None = None


@dataclass(frozen=True)
class _Pair:
    """A call of a PReLU on the output of a BatchNorm.

    Attributes:
        activation: Call of the PReLU.
        normalisation: Call of the BatchNorm.
        sum: Addition of a residual between the two, if any.
        subclass: Computation of a subclass of a BatchNorm, which may hold the PReLU; None for PyTorch's own classes.
    """

    activation: ModuleCall
    normalisation: ModuleCall
    sum: OpCall | None = None
    subclass: Fixed | None = None


def fuse_(
    model: nn.Module, flows: list[ForwardTrace], *, low_memory: bool | None
) -> tuple[list[Fusion], dict[str, str]]:
    """Fuse all pairs that can be fused, in place.

    Args:
        model: Model in which every PReLU is one call site.
        flows: Passes through the model.
        low_memory: The fused layers' `low_memory`.

    Returns:
        The pairs, fused or not, and the modules that were rewritten, by name, with the way and the reason.
    """
    names = {module: name for name, module in reversed(list(model.named_modules()))}
    fusions, rewritten = [], {}
    for activation, pairs in _pairs(flows).items():
        bn = pairs[0].normalisation.module
        addition = pairs[0].sum
        try:
            fused = _fused_layer(pairs, flows, low_memory=low_memory)
            if addition is not None:
                _rewrite_sum_(pairs, addition)
                rewritten[names[addition.call.module]] = "by its graph, since it adds a residual before the activation"
            activation_names = names_of(model, activation)
            set_module(model, names_of(model, bn), fused)
            gone = tuple(f"{name}." for name in names_of(model, fused))  # with the normalisation, if it held the PReLU
            set_module(model, [name for name in activation_names if not name.startswith(gone)], nn.Identity())
            reason = None
        except CannotRewriteError as error:
            reason = str(error)
        fusions.append(Fusion(names[activation], names[bn], addition is not None, reason))
    for activation, norm in _behind_fixed(flows).items():
        why = f"no fused layer stands for {type(norm).__name__}, {_kept_apart(norm)}"
        fusions.append(Fusion(names[activation], names[norm], residual=False, why_not=why))
    return fusions, rewritten


def _pairs(flows: list[ForwardTrace]) -> dict[nn.Module, list[_Pair]]:
    """Return the pairs of each PReLU, one for each call, if all its calls are on outputs of the same BatchNorm."""
    pairs: defaultdict[nn.Module, list[_Pair | None]] = defaultdict(list)
    for flow in flows:
        varying = values_of_inputs(flow)
        for call in flow.calls():
            if type(call.module) is PReLU and call.op is not None:
                pairs[call.module].append(_pair(call, call.op) or _pair_of_subclass(call, call.op, varying))
    whole = {}
    for activation, ended in pairs.items():
        complete = [pair for pair in ended if pair is not None]
        if len(complete) == len(ended) and len({p.normalisation.module for p in complete}) == 1:
            whole[activation] = complete
    return whole


def _pair(activation: ModuleCall, op: OpCall) -> _Pair | None:
    # A PReLU commutes with dropout before it: f(s·x) = s·f(x) for every s ≥ 0.
    before = _before(activation.inputs[0], op, past=_PAST)
    if before is not None and _is_batch_norm(before):
        return _Pair(activation, before.call)
    before = _before(activation.inputs[0], op)
    if before is None or before.name not in _SUMS or len(before.inputs) != 2 or before.kwargs.get("alpha", 1) != 1:
        return None
    if len({(value.shape, value.dtype) for value in (*before.inputs, *before.outputs)}) > 1:
        return None
    for term in before.inputs:
        norm = _before(term, before)
        if norm is not None and _is_batch_norm(norm):
            return _Pair(activation, norm.call, before)
    return None


def _pair_of_subclass(activation: ModuleCall, op: OpCall, varying: set[Value]) -> _Pair | None:
    """Return the pair of a PReLU inside a subclass of a BatchNorm, or after one; None if there is none."""
    before = _before(activation.inputs[0], op, past=_PAST)
    if before is None or before.module is not None or not isinstance(before.call.module, _BatchNorm):
        return None
    as_fixed = _fixed(before.call, varying)
    if as_fixed is None or as_fixed.ops != (before,) or before.name != "batch_norm":
        return None
    last = before.call.module.get_submodule(as_fixed.rest[-1]) if as_fixed.rest else activation.module
    return _Pair(activation, before.call, subclass=as_fixed) if last is activation.module else None


def _fixed(call: ModuleCall, varying: set[Value]) -> Fixed | None:
    try:
        return fixed(call, varying)
    except StaysError:
        return None


def _behind_fixed(flows: list[ForwardTrace]) -> dict[nn.Module, nn.Module]:
    """Return the PReLUs inside or after normalisation by fixed numbers or an InstanceNorm, with the normalisation."""
    by_flow = []
    for flow in flows:
        varying, norms = values_of_inputs(flow), dict[nn.Module, nn.Module]()
        fixed_at: dict[OpCall | ModuleCall, Fixed] = {}
        for call in flow.calls():
            as_fixed = None if isinstance(call.module, _BatchNorm) else _fixed(call, varying)
            if as_fixed is not None and as_fixed.scales:
                fixed_at |= {call: as_fixed, as_fixed.ops[-1]: as_fixed}
            if type(call.module) is PReLU and call.op is not None and call.parent is not None:
                before = _before(call.inputs[0], call.op, past=_PAST)
                norm = fixed_at.get(call.parent) or (None if before is None else fixed_at.get(before))
                if norm is not None:
                    norms[call.module] = norm.call.module
        by_flow.append(norms)
    return {act: norm for act, norm in by_flow[0].items() if all(norms.get(act) is norm for norms in by_flow)}


def _kept_apart(norm: nn.Module) -> str:
    """Return the sort of numbers by which a module normalises, and what folding makes of it."""
    if not isinstance(norm, _InstanceNorm):
        return "whose numbers are fixed; sw.fold can fold it for use"
    if norm.running_mean is not None:
        return "which normalises each sample by its own statistics in training; sw.fold can fold it for use"
    return "which normalises each sample by its own statistics, so that sw.fold cannot fold it either"


def _before(value: Value, user: OpCall, *, past: tuple[type[nn.Module], ...] = (nn.Identity,)) -> OpCall | None:
    """Return the operation that computes a value, before some layers; None if not only `user` needs the value."""
    while value.users == [user] and (op := value.producer) is not None:
        if op.module is None or type(op.module) not in past or has_hooks(op.module):
            return op
        value, user = op.inputs[0], op
    return None


def _is_batch_norm(op: OpCall) -> bool:
    return isinstance(op.module, _BatchNorm) and not isinstance(op.module, BatchNormPReLU)


def _fused_layer(pairs: list[_Pair], flows: list[ForwardTrace], *, low_memory: bool | None) -> BatchNormPReLU:
    bn, act = pairs[0].normalisation.module, pairs[0].activation.module
    calls = sum(call.module is bn for flow in flows for call in flow.calls())
    if calls != len(pairs):
        raise CannotRewriteError("the normalisation is applied elsewhere, too")
    subclass = pairs[0].subclass
    if subclass is not None:
        bn = plain_of(subclass, act, (fused.stock for fused in _FUSED.values()))
    if type(bn) not in _FUSED:
        raise CannotRewriteError(f"no fused layer stands for {type(bn).__name__}")
    try:
        return _FUSED[type(bn)].from_modules(bn, act, low_memory=low_memory)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise CannotRewriteError(str(error)) from error


def _rewrite_sum_(pairs: list[_Pair], first: OpCall) -> None:
    """Rewrite the module that adds the residual: it passes the residual to the fused layer instead."""
    pair, owner = pairs[0], first.call.module
    if any(p.sum is None or p.sum.call.module is not owner for p in pairs):
        raise CannotRewriteError("the residual is added in several modules")
    opened = [*_between(pair.normalisation, owner), *_between(pair.activation, owner)]
    for module in opened:
        if has_hooks(module):
            raise CannotRewriteError(f"{type(module).__name__} around the normalisation has hooks")
    graph = traced(owner, opened)
    activation, bn = (_node(owner, graph, call.module) for call in (pair.activation, pair.normalisation))
    *identities, addition = _behind(owner, next(iter(activation.args), None))
    terms = [_behind(owner, term) for term in addition.args[:2]]
    paths = [path for path in terms if path[-1] is bn]
    gone = [activation, *identities, addition, *(paths[0] if paths else ())]
    if len(paths) != 1 or len(terms) != 2 or any(len(node.users) != 1 for node in gone[1:]):
        raise CannotRewriteError("the graph is not what was run")
    residual = addition.args[1 if paths[0] is terms[0] else 0]
    with graph.inserting_before(activation):
        fused = graph.call_module(str(bn.target), (bn.args[0], residual))
    activation.replace_all_uses_with(fused)
    for node in gone:
        graph.erase_node(node)
    put_back_(owner, graph)


def _behind(owner: nn.Module, node: object) -> list[fx.Node]:
    """Return the node that computes a value, last in a list, after the identities that the value passes through."""
    path = []
    while isinstance(node, fx.Node):
        path.append(node)
        if node.op != "call_module" or type(owner.get_submodule(str(node.target))) is not nn.Identity:
            return path
        node = next(iter(node.args), None)
    raise CannotRewriteError("the graph is not what was run")


def _between(call: ModuleCall, owner: nn.Module) -> list[nn.Module]:
    """Return the modules around a call, innermost first, up to the owner, which is left out."""
    around, parent = [], call.parent
    while parent is not None and parent.module is not owner:
        around.append(parent.module)
        parent = parent.parent
    if parent is None:
        raise CannotRewriteError("the normalisation is not within the module that adds the residual")
    return around


def _node(owner: nn.Module, graph: fx.Graph, module: nn.Module) -> fx.Node:
    nodes: list[fx.Node] = [
        n for n in graph.nodes if n.op == "call_module" and owner.get_submodule(str(n.target)) is module
    ]
    if len(nodes) != 1:
        raise CannotRewriteError("the graph is not what was run")
    return nodes[0]
