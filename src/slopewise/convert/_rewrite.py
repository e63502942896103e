"""Rewriting of a module's forward pass, in its source or by its graph, so that it calls submodules at some steps."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from torch import nn

from slopewise.activations import Activation
from slopewise.convert._graph import rewrite_graph_
from slopewise.convert._normal import Normal, first_name
from slopewise.convert._rewritten import CannotRewriteError, rewrite_
from slopewise.convert._source import Edit, plan_source
from slopewise.trace import ModuleCall, OpCall, Where

Step = OpCall | ModuleCall
Key = tuple[Any, ...]  # a place in the forward pass of a module, and the number of the turn in which it is reached


def rewrite(
    normal: Normal,
    owner: nn.Module,
    edits: Sequence[tuple[Step, str]],
    why: str,
    *,
    kept: Sequence[Where | None] = (),
    shared: bool = False,
    activations: Mapping[str, Activation] = MappingProxyType({}),
) -> dict[str, str]:
    """Let a module call its submodules at some steps; submodules for which that is impossible are removed again.

    The source is rewritten if that is possible for all steps, else the graph, else the source for as many steps as
    possible.

    Args:
        normal: Model on its way to the normal form; notes how the module was rewritten.
        owner: Module to rewrite.
        edits: Steps of its forward pass, each with the attribute of the submodule to call there.
        why: Reason for the rewriting, for the note.
        kept: Call sites that must stay unchanged, because another execution of the same expression still uses the
            original module.
        shared: True if all turns of a loop share one submodule.
        activations: Activations that the steps compute, by attribute, where a step is not the call of a module.

    Returns:
        For each attribute that was removed again, the reason.
    """
    name = first_name(normal.names(), owner)
    planned = [Edit.of(step, attribute, activations.get(attribute)) for step, attribute in edits]
    methods, refused = plan_source(owner, planned, kept)
    if refused:
        try:
            _rewrite_graph(normal, owner, {key_of(step, shared=shared): attribute for step, attribute in edits}, shared)
        except CannotRewriteError as error:
            refused = {attribute: f"{reason}; {error}" for attribute, reason in refused.items()}
        else:
            normal.note(name, f"by its graph, since {why}")
            return {}
    for attribute in refused:
        del owner._modules[attribute]  # not delattr(), which a user's class may override
    for method in methods:
        rewrite_(owner, method)
    if methods:
        normal.note(name, f"in its source, since {why}")
    return refused


def _rewrite_graph(normal: Normal, owner: nn.Module, attributes: Mapping[Key, str], shared: bool) -> None:
    passes = [call for flow in normal.flows.values() for call in flow.calls() if call.module is owner]
    keys = {number: key_of(step, shared=shared) for number, step in enumerate(passes[0].steps)}
    edits = {number: attributes[key] for number, key in keys.items() if key in attributes}
    if set(edits.values()) < set(attributes.values()):
        raise CannotRewriteError(f"not every forward pass of {type(owner).__name__} is the same")
    rewrite_graph_(owner, passes, edits)


def key_of(step: Step, *, shared: bool = False) -> Key:
    """Return the key that tells a step from the others of its caller; `shared` takes all turns of a loop for one."""
    caller = caller_of(step)
    if isinstance(step, ModuleCall) and is_sequence(caller.module):
        return caller.module, child_of(step)
    before = [] if shared else caller.steps[: caller.steps.index(step)]
    return caller.module, step.where, sum(other.where == step.where for other in before)


def caller_of(step: Step) -> ModuleCall:
    """Return the call within which a step was made."""
    caller = step.call if isinstance(step, OpCall) else step.parent
    if caller is None:
        raise ValueError("nobody within the model calls the model itself")
    return caller


def is_sequence(module: nn.Module) -> bool:
    """Return True if a module calls its children one after the other, in a line of code that is the same for all."""
    return isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward


def child_of(call: ModuleCall) -> str:
    """Return the name by which a sequence holds the module of a call: the n-th call is that of the n-th child."""
    sequence = caller_of(call)
    calls = [step for step in sequence.steps if isinstance(step, ModuleCall)]
    # Not named_children(), which leaves out the second name of a module.
    return list(sequence.module._modules)[calls.index(call)]


def free_attribute(owner: nn.Module, stem: str, *, start: int, taken: Collection[str] = ()) -> str:
    """Return the first of stem_1, stem_2, ... that is no attribute of a module and is not taken."""
    number = start
    while hasattr(owner, f"{stem}_{number}") or f"{stem}_{number}" in taken:
        number += 1
    return f"{stem}_{number}"
