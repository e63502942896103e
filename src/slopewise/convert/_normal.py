"""The normal form of a model: every call site of an activation is a module of its own, and the function is the same.

What is then left to do, for whatever activation, is to put another module in each one's place.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from slopewise.activations import Activation, Role, activations_in, is_activation, kind_of, role_of, sign_matters
from slopewise.convert._graph import rewrite_graph_
from slopewise.convert._places import WITH_GRADIENTS, Place, places_in, same_steps
from slopewise.convert._refusal import Refusal
from slopewise.convert._rewritten import CannotRewriteError, add_, rewrite_
from slopewise.convert._select import Selection
from slopewise.convert._source import Edit, plan_source
from slopewise.errors import ConversionError
from slopewise.trace import ForwardTrace, Inputs, ModuleCall, OpCall, Where, trace_forward

_Key = tuple[Any, ...]  # a place in a module's forward pass, and which of the times that it is passed


@dataclass
class Normal:
    """A model on its way to the normal form.

    Attributes:
        model: changed in place.
        inputs: what it is run on.
        selection: of the activations to convert.
        first_names: of every module as it was given.
        flows: the latest passes through it without gradients, by mode ("training", "evaluation"); and with them, as
            "training, with gradients", where that is another pass.
        first: by the same names, the places of all activations in the passes through the model as it was given.
        origins: of modules that stand for functions, which function it was and where.
        signs: Places in the same modules where the sign of their outputs matters, by lines of the code as it was given.
        rewritten: names of the modules whose forward pass was rewritten, and how and why.
        refusals: what had to be left.
        stuck: modules used at several places that could not be separated.
        copies: of copies, the module that they were made of.
        failure: the mode in which the model does not run, and its error; None if it runs in both.
    """

    model: nn.Module
    inputs: Inputs
    selection: Selection
    first_names: dict[nn.Module, list[str]] = field(default_factory=dict)
    flows: dict[str, ForwardTrace] = field(default_factory=dict)
    origins: dict[nn.Module, str] = field(default_factory=dict)
    signs: dict[nn.Module, str] = field(default_factory=dict)
    rewritten: dict[str, str] = field(default_factory=dict)
    refusals: list[Refusal] = field(default_factory=list)
    stuck: set[nn.Module] = field(default_factory=set)
    copies: dict[nn.Module, nn.Module] = field(default_factory=dict)
    failure: str | None = None
    first: dict[str, list[Place | None]] = field(default_factory=dict)

    @property
    def modes(self) -> tuple[str, ...]:
        """The modes in which the model runs."""
        return tuple(mode for mode in self.flows if not mode.endswith(WITH_GRADIENTS))

    def observe(self) -> None:
        """Run the model in both modes; the one that it is in must work."""
        own = "training" if self.model.training else "evaluation"
        for mode in sorted(("training", "evaluation"), key=lambda mode: mode != own):
            try:
                self.flows[mode] = trace_forward(self.model, self.inputs, training=mode == "training")
            except Exception as error:  # a user's model can raise anything
                reason = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
                if mode == own:
                    raise ConversionError(
                        f"the model does not run on example_inputs in {mode} mode: {reason}"
                    ) from error
                self.flows.pop(mode, None)
                self.failure = f"it does not run on the example in {mode} mode ({reason})"
            else:
                self._observe_with_gradients(mode)
        self.first = self.first or {
            key: places_in(flow, list(self.steps(mode=key))) for key, flow in self.flows.items()
        }

    def _observe_with_gradients(self, mode: str) -> None:
        key = mode + WITH_GRADIENTS
        if self.first and key not in self.flows:
            return
        self.flows.pop(key, None)
        try:
            flow = trace_forward(self.model, self.inputs, training=mode == "training", gradients=True)
        except RuntimeError:  # a network for inference alone may change in place what gradients need
            return
        if not same_steps(flow, self.flows[mode]):
            self.flows[key] = flow

    def origin(self, module: nn.Module) -> nn.Module:
        """Return the module of the model as it was given that a module is, or is a copy of."""
        while module in self.copies:
            module = self.copies[module]
        return module

    def note(self, name: str, how: str) -> None:
        """Remember how a module was rewritten; that may be in several steps."""
        self.rewritten[name] = f"{self.rewritten[name]}; {how}" if name in self.rewritten else how

    def names(self) -> dict[nn.Module, list[str]]:
        """Every module's names."""
        names: defaultdict[nn.Module, list[str]] = defaultdict(list)
        for name, module in self.model.named_modules(remove_duplicate=False):
            names[module].append(name)
        return names

    def takes(self, name: str, step: OpCall | ModuleCall, found: Activation) -> bool:
        """Return whether to convert an activation; `name` is the one that its site has or will have."""
        return self.selects(name, step, found) and self.role(name, found) is None

    def role(self, name: str, found: Activation) -> Role | None:
        """Return the reason for which an activation stays as it is though it is selected; None if it does not stay."""
        role = role_of(found)
        named = self.selection.names(name, found.kind.name if found.kind.left else "")
        return None if named and not found.fixed else role

    def selects(self, name: str, step: OpCall | ModuleCall, found: Activation) -> bool:
        """Return whether the selection has an activation."""
        around, call = [found.module], step.call if isinstance(step, OpCall) else step.parent
        while call is not None:
            around.append(call.module)
            call = call.parent
        return self.selection.takes(name, found.kind.name, around)

    def steps(self, *, mode: str | None = None) -> Iterator[tuple[OpCall | ModuleCall, Activation]]:
        """Every activation that was applied, functions and modules."""
        for name, flow in self.flows.items():
            if mode in (None, name):
                yield from ((step, found) for step, found in activations_in(flow.root) if is_activation(found))


def normalise(model: nn.Module, inputs: Inputs, selection: Selection, *, call_sites: str) -> Normal:
    """Bring a model into its normal form, in place.

    Args:
        model: changed.
        inputs: to run it on.
        selection: which activations; what they share with others is left to the others.
        call_sites: "separate" gives a module used at several places a copy for each, "shared" leaves it at all of
            them, "refuse" refuses it.

    Raises:
        ConversionError: the model does not run, or with "refuse" some module is used at several places.
    """
    normal = Normal(model, inputs, selection)
    normal.first_names = normal.names()
    tried: set[nn.Module] = set()
    normal.observe()
    normal.refusals += _unreached(normal)
    while call_sites != "shared":
        reused = {unit: uses for unit, uses in _reused(normal).items() if unit not in tried}
        if not reused:
            break
        if call_sites == "refuse":
            raise ConversionError(_clashes(normal, reused))
        inner = {part for unit in reused for part in unit.modules() if part is not unit}
        for unit, uses in reused.items():
            if unit not in inner:
                tried.add(unit)
                _separate(normal, unit, uses)
        normal.observe()
    if _make_modules(normal, shared=call_sites == "shared"):
        normal.observe()
    normal.refusals += _left(normal)
    return normal


def _unreached(normal: Normal) -> list[Refusal]:
    reached = {call.module for flow in normal.flows.values() for call in flow.calls()}
    return [
        Refusal(name, kind.name, "the example does not reach it", reached=False)
        for name, module in normal.model.named_modules()
        if (kind := kind_of(module)) is not None and module not in reached
    ]


def _left(normal: Normal) -> list[Refusal]:
    """The modules that the selection has, and that stay as they are for what they are there for."""
    names = normal.names()
    found: dict[nn.Module, Refusal] = {}
    for step, activation in normal.steps():
        if not isinstance(step, ModuleCall) or step.module not in names or step.module in normal.stuck:
            continue
        name = names[step.module][0]
        if normal.selects(name, step, activation) and (role := normal.role(name, activation)) is not None:
            found.setdefault(step.module, Refusal(name, activation.kind.name, role.reason, quiet=role.quiet))
    return [*found.values(), *_scripts(normal)]


def _scripts(normal: Normal) -> list[Refusal]:
    """The scripts that are no activations themselves, and may hold any number of them."""
    known = {step.module for step, _ in normal.steps() if isinstance(step, ModuleCall)}
    called = dict.fromkeys(call.module for flow in normal.flows.values() for call in flow.calls())
    reason = "it is a script, whose activations cannot be seen or replaced: convert before torch.jit.script"
    names = normal.names()
    return [
        Refusal(_name(names, module), "script", reason)
        for module in called
        if isinstance(module, torch.jit.ScriptModule) and module not in known
    ]


def _reused(normal: Normal) -> dict[nn.Module, dict[_Key, ModuleCall]]:
    """The modules to be separated, with the places where each is called.

    They are activations, and modules around activations that have no parameters. A module with parameters that is
    called at several places shares them on purpose, and its activations belong to it.
    """
    names = normal.names()
    uses: defaultdict[nn.Module, dict[_Key, ModuleCall]] = defaultdict(dict)
    taken: set[nn.Module] = set()  # one that is left everywhere may be at any number of places
    for step, found in normal.steps():
        call = step if isinstance(step, ModuleCall) else step.call
        name = (
            _name(names, call.module)
            if isinstance(step, ModuleCall)
            else _join(_name(names, call.module), _first(found))
        )
        if not normal.selects(name, step, found):
            continue
        converted = normal.role(name, found) is None
        unit: ModuleCall | None = call
        while unit is not None and unit.parent is not None and (unit is step or not _has_state(unit.module)):
            uses[unit.module].setdefault(_key(unit), unit)
            taken |= {unit.module} if converted else set()
            unit = unit.parent
    return {unit: places for unit, places in uses.items() if len(places) > 1 and unit in taken}


def _has_state(module: nn.Module) -> bool:
    return any(True for _ in module.parameters()) or any(True for _ in module.buffers())


def _key(step: OpCall | ModuleCall, *, shared: bool = False) -> _Key:
    """What tells a place in the caller's forward pass from its others; `shared` takes all turns of a loop for one."""
    parent = _caller(step)
    if isinstance(step, ModuleCall) and _is_sequence(parent.module):
        return parent.module, _child(step, parent)
    before = [] if shared else parent.steps[: parent.steps.index(step)]
    return parent.module, step.where, sum(other.where == step.where for other in before)


def _caller(step: OpCall | ModuleCall) -> ModuleCall:
    """The call within which a step was made."""
    caller = step.call if isinstance(step, OpCall) else step.parent
    if caller is None:
        raise ValueError("nobody within the model calls the model itself")
    return caller


def _is_sequence(module: nn.Module) -> bool:
    return isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward


def _child(call: ModuleCall, parent: ModuleCall) -> str:
    return list(parent.module._modules)[[s for s in parent.steps if isinstance(s, ModuleCall)].index(call)]


def _slot(call: ModuleCall) -> tuple[nn.Module, str] | None:
    """The attribute by which the caller came to a module; None if it holds it in no submodule of its own."""
    parent = _caller(call)
    caller = parent.module
    if _is_sequence(caller):
        return caller, _child(call, parent)
    for name, module in caller.named_modules(remove_duplicate=False):
        if module is call.module and name:
            holder, _, attribute = name.rpartition(".")
            return caller.get_submodule(holder), attribute
    return None


def _separate(normal: Normal, unit: nn.Module, uses: dict[_Key, ModuleCall]) -> None:
    """Give each place of a module a copy of its own: in an attribute that it has to itself, else in a new one."""
    names = normal.names()
    taken: set[tuple[nn.Module, str]] = set()
    new: defaultdict[nn.Module, list[tuple[OpCall | ModuleCall, str]]] = defaultdict(list)
    for call in uses.values():
        slot = _slot(call)
        if slot is None or slot in taken:
            stem = slot[1] if slot is not None and not slot[1].isdigit() else type(unit).__name__.lower()
            caller = _caller(call).module
            attribute = _free(caller, stem, start=2)
            add_(caller, attribute, _copied(normal, unit))
            new[caller].append((call, attribute))
        else:
            if taken:
                slot[0]._modules[slot[1]] = _copied(normal, unit)
            taken.add(slot)
    for caller, calls in new.items():
        attribute = next(name for name, module in caller.named_modules(remove_duplicate=False) if module is unit)
        kept = [call.where for call in uses.values() if _caller(call).module is caller and call not in dict(calls)]
        why = f"its {attribute} is applied at {len(calls) + len(kept)} places"
        left = _rewrite(normal, caller, calls, why, kept=kept)
        if left:
            normal.stuck.update(unit.modules())
            reason = f"it is applied at {len(uses)} places, which cannot be told apart: {'; '.join(set(left.values()))}"
            normal.refusals.append(Refusal(_name(names, unit), _kinds(normal, unit), reason))


def _kinds(normal: Normal, unit: nn.Module) -> str:
    inside = set(unit.modules())
    return ", ".join(sorted({found.kind.name for _, found in normal.steps() if found.module in inside}))


def _copied(normal: Normal, unit: nn.Module) -> nn.Module:
    new = copy.deepcopy(unit)
    normal.copies |= zip(new.modules(), unit.modules(), strict=True)
    return new


def _make_modules(normal: Normal, *, shared: bool) -> bool:
    """Let a new submodule do what each activation function does; whether any was found."""
    names = normal.names()
    by_owner: defaultdict[nn.Module, dict[_Key, tuple[OpCall, Activation]]] = defaultdict(dict)
    for step, found in normal.steps():
        if isinstance(step, OpCall):
            by_owner[step.call.module].setdefault(_key(step, shared=shared), (step, found))
    done = False
    for owner, places in by_owner.items():
        new: dict[str, tuple[OpCall, Activation]] = {}
        numbered: set[str] = set()
        for op, found in places.values():
            attribute = _free(owner, found.kind.name, start=1, taken=numbered)
            numbered.add(attribute)
            name = _join(_name(names, owner), attribute)
            if not normal.selects(name, op, found):
                continue
            what = op.name.removeprefix("_") if len(found.ops) == 1 else f"{found.kind.name} written out"
            source = f"{what} at {op.where or 'a place unknown'}"
            role = normal.role(name, found)
            if role is not None:
                normal.refusals.append(Refusal(name, found.kind.name, f"{source}: {role.reason}", quiet=role.quiet))
                continue
            add_(owner, attribute, found.module.train(owner.training))
            normal.origins[found.module] = source
            normal.signs[found.module] = sign_matters(found)
            new[attribute] = (op, found)
        if not new:
            continue
        listed = ", ".join(sorted({op.name if len(found.ops) == 1 else found.kind.name for op, found in new.values()}))
        calls: list[tuple[OpCall | ModuleCall, str]] = [(op, attribute) for attribute, (op, _) in new.items()]
        activations = {attribute: found for attribute, (_, found) in new.items()}
        left = _rewrite(normal, owner, calls, f"it calls {listed}", shared=shared, found=activations)
        done = done or len(left) < len(new)
        for attribute, reason in left.items():
            found = new[attribute][1]
            name = _join(_name(names, owner), attribute)
            normal.refusals.append(Refusal(name, found.kind.name, f"{normal.origins[found.module]}: {reason}"))
    return done


def _rewrite(
    normal: Normal,
    owner: nn.Module,
    calls: list[tuple[OpCall | ModuleCall, str]],
    why: str,
    *,
    kept: Sequence[Where | None] = (),
    shared: bool = False,
    found: Mapping[str, Activation] = MappingProxyType({}),
) -> dict[str, str]:
    """Let `owner` call its submodules at these steps; the ones that it cannot are taken away again.

    Its source is rewritten if that will do for all of them, else its graph, else its source for those for which it
    will do. Returns, for the attributes that are left, why.
    """
    name = _name(normal.names(), owner)
    methods, refused = plan_source(
        owner, [Edit.of(step, attribute, found.get(attribute)) for step, attribute in calls], kept
    )
    if refused:
        try:
            places = {_key(step, shared=shared): attribute for step, attribute in calls}
            _rewrite_graph(normal, owner, places, shared)
        except CannotRewriteError as error:
            refused = {attribute: f"{reason}; {error}" for attribute, reason in refused.items()}
        else:
            normal.note(name, f"by its graph, since {why}")
            return {}
    for attribute in refused:
        del owner._modules[attribute]
    for method in methods:
        rewrite_(owner, method)
    if methods:
        normal.note(name, f"in its source, since {why}")
    return refused


def _rewrite_graph(normal: Normal, owner: nn.Module, places: dict[_Key, str], shared: bool) -> None:
    passes = [call for flow in normal.flows.values() for call in flow.calls() if call.module is owner]
    keys = {number: _key(step, shared=shared) for number, step in enumerate(passes[0].steps)}
    edits = {number: places[key] for number, key in keys.items() if key in places}
    if set(edits.values()) < set(places.values()):
        raise CannotRewriteError(f"not every forward pass of {type(owner).__name__} is the same")
    rewrite_graph_(owner, passes, edits)


def _join(owner: str, attribute: str) -> str:
    return f"{owner}.{attribute}" if owner else attribute


def _first(found: Activation) -> str:
    """The attribute of the first function of a kind in a module."""
    return f"{found.kind.name}_1"


def _free(owner: nn.Module, stem: str, *, start: int, taken: Collection[str] = ()) -> str:
    """An attribute that the module does not have yet, and that is not taken otherwise."""
    number = start
    while hasattr(owner, f"{stem}_{number}") or f"{stem}_{number}" in taken:
        number += 1
    return f"{stem}_{number}"


def _name(names: dict[nn.Module, list[str]], module: nn.Module) -> str:
    return next(iter(names.get(module, ())), "")


def _clashes(normal: Normal, reused: dict[nn.Module, dict[_Key, ModuleCall]]) -> str:
    names = normal.names()
    listed = [
        f"{_name(names, unit) or type(unit).__name__} ({', '.join(str(call.where) for call in uses.values())})"
        for unit, uses in reused.items()
    ]
    return (
        f"{len(listed)} modules with activations are applied at several places: {'; '.join(listed)}. Pass "
        "call_sites='separate' to give each place its own slopes, or 'shared' to tie them on purpose"
    )
