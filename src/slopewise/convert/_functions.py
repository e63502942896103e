"""Activations that are called as functions or written out, made modules."""

from __future__ import annotations

from collections import defaultdict

from torch import nn

from slopewise.activations import Activation, sign_matters
from slopewise.convert._normal import Normal, first_name, join
from slopewise.convert._refusal import Refusal
from slopewise.convert._rewrite import Key, Step, free_attribute, key_of, rewrite
from slopewise.convert._rewritten import add_
from slopewise.trace import OpCall

Found = tuple[OpCall, Activation]  # the last operation of an activation, and the activation


def make_modules(normal: Normal, *, shared: bool) -> bool:
    """Let a new submodule of the calling module compute what each activation function computes.

    Args:
        normal: Model on its way to the normal form.
        shared: True if all turns of a loop share one submodule.

    Returns:
        True if anything was changed.
    """
    names = normal.names()
    by_owner: defaultdict[nn.Module, dict[Key, Found]] = defaultdict(dict)
    for step, activation in normal.steps():
        if isinstance(step, OpCall):
            by_owner[step.call.module].setdefault(key_of(step, shared=shared), (step, activation))
    changed = False
    for owner, places in by_owner.items():
        owner_name = first_name(names, owner)
        new = _add_modules(normal, owner, owner_name, list(places.values()))
        if not new:
            continue
        calls = ", ".join(sorted({op.name if len(act.ops) == 1 else act.kind.name for op, act in new.values()}))
        edits: list[tuple[Step, str]] = [(op, attribute) for attribute, (op, _) in new.items()]
        activations = {attribute: activation for attribute, (_, activation) in new.items()}
        left = rewrite(normal, owner, edits, f"it calls {calls}", shared=shared, activations=activations)
        changed = changed or len(left) < len(new)
        for attribute, reason in left.items():
            activation = activations[attribute]
            source = normal.origins[activation.module]
            name = join(owner_name, attribute)
            normal.refusals.append(Refusal(name, activation.kind.name, f"{source}: {reason}"))
    return changed


def _add_modules(normal: Normal, owner: nn.Module, owner_name: str, places: list[Found]) -> dict[str, Found]:
    """Add a submodule for each activation to be converted; return them by attribute."""
    new: dict[str, Found] = {}
    numbered: set[str] = set()  # activations that stay have a number too, so that a selection does not change names
    for op, activation in places:
        kind = activation.kind.name
        attribute = free_attribute(owner, kind, start=1, taken=numbered)
        numbered.add(attribute)
        name = join(owner_name, attribute)
        if not normal.selects(name, op, activation):
            continue
        function = op.name.removeprefix("_") if len(activation.ops) == 1 else f"{kind} written out"
        source = f"{function} at {op.where or 'a place unknown'}"
        role = normal.role(name, activation)
        if role is not None:
            normal.refusals.append(Refusal(name, kind, f"{source}: {role.reason}", quiet=role.quiet))
            continue
        add_(owner, attribute, activation.module.train(owner.training))
        normal.origins[activation.module] = source
        normal.signs[activation.module] = sign_matters(activation)
        new[attribute] = (op, activation)
    return new
