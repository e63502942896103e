"""Modules with several call sites, and copies of them, so that each call site has a module to itself."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Mapping

from torch import nn

from slopewise.activations import Activation
from slopewise.convert._normal import Normal, first_name, join
from slopewise.convert._refusal import Refusal
from slopewise.convert._rewrite import Key, Step, caller_of, child_of, free_attribute, is_sequence, key_of, rewrite
from slopewise.convert._rewritten import add_
from slopewise.trace import ModuleCall

Calls = Mapping[Key, ModuleCall]  # the first call at each call site


def reused(normal: Normal) -> dict[nn.Module, dict[Key, ModuleCall]]:
    """Return the modules to be separated, with their call sites.

    These are activations, and modules around activations that have no parameters. A module with parameters and several
    call sites shares them on purpose, and its activations belong to it.
    """
    names = normal.names()
    calls: defaultdict[nn.Module, dict[Key, ModuleCall]] = defaultdict(dict)
    converted: set[nn.Module] = set()  # a module without activations to convert may have any number of call sites
    for step, activation in normal.steps():
        call = step if isinstance(step, ModuleCall) else step.call
        name = first_name(names, call.module)
        if not isinstance(step, ModuleCall):
            name = join(name, _first_attribute(activation))
        if not normal.selects(name, step, activation):
            continue
        stays = normal.role(name, activation) is not None
        unit: ModuleCall | None = call
        while unit is not None and unit.parent is not None and (unit is step or not _has_state(unit.module)):
            calls[unit.module].setdefault(key_of(unit), unit)
            converted |= set() if stays else {unit.module}
            unit = unit.parent
    return {unit: sites for unit, sites in calls.items() if len(sites) > 1 and unit in converted}


def separate(normal: Normal, unit: nn.Module, calls: Calls) -> None:
    """Give each call site of a module a copy of its own, under an attribute that no other call site uses.

    Where the callers do not hold the module under enough attributes, new ones are added, and the callers rewritten.
    """
    names = normal.names()
    taken: set[tuple[nn.Module, str]] = set()
    new: defaultdict[nn.Module, list[tuple[Step, str]]] = defaultdict(list)
    for call in calls.values():
        slot = _slot(call)
        if slot is None or slot in taken:
            stem = slot[1] if slot is not None and not slot[1].isdigit() else type(unit).__name__.lower()
            caller = caller_of(call).module
            attribute = free_attribute(caller, stem, start=2)
            add_(caller, attribute, _copied(normal, unit))
            new[caller].append((call, attribute))
        else:
            if taken:
                # Not setattr(), which a user's class may override, as in `set_module`.
                slot[0]._modules[slot[1]] = _copied(normal, unit)
            taken.add(slot)
    for caller, edits in new.items():
        attribute = next(name for name, module in caller.named_modules(remove_duplicate=False) if module is unit)
        kept = [call.where for call in calls.values() if caller_of(call).module is caller and call not in dict(edits)]
        why = f"its {attribute} is applied at {len(edits) + len(kept)} places"
        left = rewrite(normal, caller, edits, why, kept=kept)
        if left:
            normal.stuck.update(unit.modules())
            reason = (
                f"it is applied at {len(calls)} places, which cannot be told apart: {'; '.join(set(left.values()))}"
            )
            normal.refusals.append(Refusal(first_name(names, unit), _kinds(normal, unit), reason))


def clashes(normal: Normal, units: Mapping[nn.Module, Calls]) -> str:
    """Return the error message for modules with several call sites."""
    names = normal.names()
    listed = [
        f"{first_name(names, unit) or type(unit).__name__} ({', '.join(str(call.where) for call in calls.values())})"
        for unit, calls in units.items()
    ]
    return (
        f"{len(listed)} modules with activations are applied at several places: {'; '.join(listed)}. Pass "
        "call_sites='separate' to give each place its own slopes, or 'shared' to tie them on purpose"
    )


def _has_state(module: nn.Module) -> bool:
    return any(True for _ in module.parameters()) or any(True for _ in module.buffers())


def _first_attribute(activation: Activation) -> str:
    """Return the attribute that the first function of a kind in a module gets."""
    return f"{activation.kind.name}_1"


def _slot(call: ModuleCall) -> tuple[nn.Module, str] | None:
    """Return the holder and the attribute by which the caller reaches a module; None if no submodule holds it."""
    caller = caller_of(call).module
    if is_sequence(caller):
        return caller, child_of(call)
    for name, module in caller.named_modules(remove_duplicate=False):
        if module is call.module and name:
            holder, _, attribute = name.rpartition(".")
            return caller.get_submodule(holder), attribute
    return None


def _kinds(normal: Normal, unit: nn.Module) -> str:
    inside = set(unit.modules())
    return ", ".join(sorted({activation.kind.name for _, activation in normal.steps() if activation.module in inside}))


def _copied(normal: Normal, unit: nn.Module) -> nn.Module:
    new = copy.deepcopy(unit)
    normal.copies |= zip(new.modules(), unit.modules(), strict=True)
    return new
