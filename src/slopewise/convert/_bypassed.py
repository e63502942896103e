"""Activations that a module applies when run in one way, but computes otherwise, or within a kernel, in another.

A PReLU in such a place would be trained, and then bypassed in use. Such sites are recognised by two passes that reach
different sites and yet return the same.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from slopewise.convert._normal import Normal
from slopewise.convert._places import WITH_GRADIENTS
from slopewise.convert._proof import difference, run, tolerance
from slopewise.convert._refusal import Refusal
from slopewise.trace import ForwardTrace, ModuleCall, trace_forward

# PyTorch's own kernels, by the name under which a watched pass shows them, and the activations that they contain.
_KERNELS = {
    "rnn_relu": "relu",
    "rnn_relu_cell": "relu",
    "_addmm_activation": "relu or gelu",
    "_transformer_encoder_layer_fwd": "relu or gelu",
}
_DROPOUTS = (F.dropout, F.alpha_dropout, F.feature_alpha_dropout, F.dropout1d, F.dropout2d, F.dropout3d)


def bypassed(normal: Normal, sites: Collection[nn.Module]) -> dict[nn.Module, str]:
    """Return the sites that some way of running the model does not reach although it returns the same.

    Args:
        normal: Model in its normal form.
        sites: Modules that apply an activation.

    Returns:
        The reason not to convert it, in words, for each such site.
    """
    reached = {key: {call.module for call in flow.calls()} & {*sites} for key, flow in normal.flows.items()}
    reasons: dict[nn.Module, str] = {}
    for mode in normal.modes:
        with_gradients = reached.get(mode + WITH_GRADIENTS, reached[mode])
        apart = with_gradients ^ reached[mode]
        if apart and _same(*(run(normal.model, normal.inputs, mode, gradients=g) for g in (True, False))):
            for site in apart:
                ways = ("with", "without") if site in with_gradients else ("without", "with")
                reasons[site] = f"it is applied {ways[0]} gradients alone; {ways[1]} them {_otherwise(normal, site)}"
    if {"training", "evaluation"} <= reached.keys():
        for site in reached["training"] ^ reached["evaluation"]:
            ways = ("training", "evaluation") if site in reached["training"] else ("evaluation", "training")
            if site not in reasons and _either_way(normal, site):
                reasons[site] = f"it is applied in {ways[0]} mode alone; in {ways[1]} {_otherwise(normal, site)}"
    if (flow := _under_autocast(normal)) is not None and "evaluation" in reached:
        for site in reached["evaluation"] - {call.module for call in flow.calls()}:
            reasons.setdefault(site, f"under autocast {_otherwise(normal, site)}")
    return reasons


def in_kernels(normal: Normal) -> list[Refusal]:
    """Return refusals for activations that kernels of PyTorch compute together with the layer before them."""
    names, refusals = normal.names(), {}
    for op in (op for flow in normal.flows.values() for op in flow.ops()):
        module = op.call.module
        name = names[module][0] if module in names else ""
        if isinstance(op.module, (nn.RNN, nn.RNNCell)):
            kind, kernel = str(op.module.nonlinearity), type(op.module).__name__
        else:
            kind, kernel = _KERNELS.get(op.name, ""), op.name
        if kind in ("relu", "gelu", "relu or gelu") and normal.selection.takes(name, kind, [module]):
            reason = f"{kernel} computes it within one kernel, where no module could take its place"
            refusals[name, kernel] = Refusal(name, kind, reason)
    return list(refusals.values())


def _otherwise(normal: Normal, site: nn.Module) -> str:
    owner = _callers(normal.flows.values(), site)[0]
    return f"{type(owner).__name__} computes the same in another way, where no module could take its place"


def _callers(flows: Collection[ForwardTrace], site: nn.Module) -> list[nn.Module]:
    """Return the modules around a site's first call, innermost first."""
    call: ModuleCall | None = next(call for flow in flows for call in flow.calls() if call.module is site).parent
    around = []
    while call is not None:
        around.append(call.module)
        call = call.parent
    return around


def _either_way(normal: Normal, site: nn.Module) -> bool:
    """Return True if the module around a site returns the same in training mode; dropout is left out."""
    both = [{call.module for call in normal.flows[mode].calls()} for mode in ("training", "evaluation")]
    owner = next(module for module in _callers(normal.flows.values(), site) if all(module in seen for seen in both))

    def flag(module: nn.Module, args: tuple[Any, ...]) -> None:  # noqa: ARG001
        module.training = True

    with _NoDropout():
        without = run(normal.model, normal.inputs, "evaluation")
        handle = owner.register_forward_pre_hook(flag, prepend=True)
        try:
            flagged = run(normal.model, normal.inputs, "evaluation")
        except (RuntimeError, ValueError, TypeError):  # in training it may take other inputs
            return False
        finally:
            handle.remove()
    return _same(without, flagged)


class _NoDropout(TorchFunctionMode):
    """Makes every call of a dropout function return its input, whatever module makes it."""

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        if func in _DROPOUTS:
            return args[0] if args else kwargs["input"]
        return func(*args, **(kwargs or {}))


def _under_autocast(normal: Normal) -> ForwardTrace | None:
    device = next((p.device.type for p in normal.model.parameters()), "cpu")
    try:
        with torch.autocast(device, torch.bfloat16):
            return trace_forward(normal.model, normal.inputs, training=False)
    except RuntimeError:  # many networks do not run under autocast
        return None


def _same(first: Sequence[Tensor], second: Sequence[Tensor]) -> bool:
    if [t.shape for t in first] != [t.shape for t in second]:
        return False
    return difference(first, second).relative <= tolerance(first)
