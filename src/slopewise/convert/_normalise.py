"""`normalise`: a model brought into its normal form, step by step."""

from __future__ import annotations

import torch
from torch import nn

from slopewise.activations import kind_of
from slopewise.convert._functions import make_modules
from slopewise.convert._normal import Normal, first_name
from slopewise.convert._refusal import Refusal
from slopewise.convert._select import Selection
from slopewise.convert._separate import clashes, reused, separate
from slopewise.errors import ConversionError
from slopewise.trace import Inputs, ModuleCall


def normalise(model: nn.Module, inputs: Inputs, selection: Selection, *, call_sites: str) -> Normal:
    """Bring a model into its normal form, in place.

    Modules with several call sites are separated first, then functions become modules.

    Args:
        model: Model to change.
        inputs: Inputs on which it is run.
        selection: Selection of the activations. A module that the selection takes at some call sites only is separated
            from the others.
        call_sites: "separate" gives each call site of a module a copy, "shared" leaves the module at all of them,
            "refuse" raises an error.

    Raises:
        ConversionError: The model does not run, or some module has several call sites and `call_sites` is "refuse".
    """
    normal = Normal(model, inputs, selection)
    normal.first_names = normal.names()
    tried: set[nn.Module] = set()
    normal.observe()
    normal.refusals += _unreached(normal)
    while call_sites != "shared":
        units = {unit: calls for unit, calls in reused(normal).items() if unit not in tried}
        if not units:
            break
        if call_sites == "refuse":
            raise ConversionError(clashes(normal, units))
        # The copies of a module hold copies of its submodules, which the next turn of the loop looks at.
        inner = {part for unit in units for part in unit.modules() if part is not unit}
        for unit, calls in units.items():
            if unit not in inner:
                tried.add(unit)
                separate(normal, unit, calls)
        normal.observe()
    if make_modules(normal, shared=call_sites == "shared"):
        normal.observe()
    normal.refusals += _with_roles(normal)
    normal.refusals += _scripts(normal)
    return normal


def _unreached(normal: Normal) -> list[Refusal]:
    """Return the activation modules that no pass reaches."""
    reached = {call.module for flow in normal.flows.values() for call in flow.calls()}
    return [
        Refusal(name, kind.name, "the example does not reach it", reached=False)
        for name, module in normal.model.named_modules()
        if (kind := kind_of(module)) is not None and module not in reached
    ]


def _with_roles(normal: Normal) -> list[Refusal]:
    """Return the selected activation modules that stay for their role, such as gates."""
    names = normal.names()
    refusals: dict[nn.Module, Refusal] = {}
    for step, activation in normal.steps():
        if not isinstance(step, ModuleCall) or step.module not in names or step.module in normal.stuck:
            continue
        name = names[step.module][0]
        if normal.selects(name, step, activation) and (role := normal.role(name, activation)) is not None:
            refusals.setdefault(step.module, Refusal(name, activation.kind.name, role.reason, quiet=role.quiet))
    return list(refusals.values())


def _scripts(normal: Normal) -> list[Refusal]:
    """Return the scripted modules that are no activations themselves, and may hold any number of them."""
    known = {step.module for step, _ in normal.steps() if isinstance(step, ModuleCall)}
    called = dict.fromkeys(call.module for flow in normal.flows.values() for call in flow.calls())
    reason = "it is a script, whose activations cannot be seen or replaced: convert before torch.jit.script"
    names = normal.names()
    return [
        Refusal(first_name(names, module), "script", reason)
        for module in called
        if isinstance(module, torch.jit.ScriptModule) and module not in known
    ]
