"""`convert`: a PReLU at every call site of an activation, and evidence of what else that changed."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from slopewise.activations import KINDS
from slopewise.checkpoint import metadata_of
from slopewise.convert._bypassed import bypassed, in_kernels
from slopewise.convert._conversion import Conversion
from slopewise.convert._factory import Factory, Target
from slopewise.convert._fast_paths import close_fast_paths_
from slopewise.convert._install import Installation
from slopewise.convert._normal import Normal
from slopewise.convert._normalise import normalise
from slopewise.convert._original import Original
from slopewise.convert._proof import Proof, prove
from slopewise.convert._refusal import Refusal
from slopewise.convert._select import Patterns, Selection
from slopewise.convert._spread import AtSpread
from slopewise.convert._swap import copy_of
from slopewise.convert._units import ChannelDim, read_again, units
from slopewise.convert._wrappers import unwrapped
from slopewise.errors import ConversionError, ConversionWarning, nearest
from slopewise.modules import aliases
from slopewise.nn import BatchNormPReLU
from slopewise.trace import Inputs

CallSites = Literal["separate", "shared", "refuse"]


def convert(
    model: nn.Module,
    example_inputs: Any,
    *,
    to: str | Factory = "prelu_channel",
    init: float = 0.25,
    fuse: bool = False,
    low_memory: bool | None = None,
    call_sites: CallSites = "separate",
    only: Patterns = None,
    skip: Patterns = None,
    channel_dim: ChannelDim = None,
) -> Conversion:
    """Replace the activation at every call site of a model by a PReLU of its own, and measure what else that changed.

    The example is run to find where activations are applied, by modules, functions (`F.relu`), methods (`x.relu_()`) or
    in place, and to how many channels. The model given is not changed. The converted one keeps its class, attributes,
    names of weights, device, dtype, training mode, `requires_grad` and hooks. With `fuse`, a PReLU's slopes get another
    name, which `Conversion.original_state_dict` translates back.

    Replacing modules is not enough where a function is called, or one module at several call sites. There the calling
    module gets a rewritten forward pass: from its own source, or, for loops, helper functions and fused residuals, from
    its torch.fx graph. `Conversion.rewritten` lists these modules and the reasons.

    Args:
        model: Model of any class. The wrappers of torch.compile and DataParallel are looked through. Of a model wrapped
            for DistributedDataParallel or FSDP, convert the inner one and wrap the result.
        example_inputs: Tensor, tuple of positional arguments or dict of keyword arguments. A batch of two or more items
            lets the model run in training mode as well.
        to: "prelu_channel", a slope for each channel; "prelu_shared", one for the site; or a callable that builds the
            module for a site. It is called once for each converted site, in the order of `Conversion.sites`, and `init`
            and `low_memory` are left to it. If its first parameter is annotated with `SiteContext`, or is named `site`
            and has no annotation, it is given the site, ``callable(site) -> Module | None``, and None leaves the site
            as it is. Any other callable is given the number of channels, ``callable(channels) -> Module``.
        init: Initial slopes. 0.0 preserves the function of a ReLU. LeakyReLU and PReLU keep their slopes.
        fuse: If True, batch normalisation and the PReLU after it, with or without a residual between them, become one
            layer (`BatchNormPReLU2d`) wherever nothing else needs the value between them. For the backward pass such a
            layer keeps its output, which the next layer keeps anyway, instead of its input: see `low_memory`.
        low_memory: Layers that keep their outputs for the backward pass instead of their inputs: by default (None) the
            fused ones where it costs no time (not on a CPU without kernels, see `slopewise.nn.functional.prelu`), with
            True PReLUs by themselves as well, with False none. Each call of a layer does so only where its values make
            that safe. They do not while slopes are below 2⁻¹⁰: at ``init=0.0`` nothing is saved before
            they have moved. A layer whose output the model changes in place, as ``x += y`` does, keeps its input.
        call_sites: Treatment of an activation module with several call sites. "separate" gives each its own slopes,
            "shared" ties them on purpose, "refuse" raises an error that lists them. A block with weights that is called
            several times shares these, and its slopes with them.
        only: Activations to convert; all others stay. Names ("layer1.*"), kinds ("relu"), classes of the activation
            (nn.ReLU) or around it, or a sequence of these. Gates, limits, activations of parameters and kinds such as
            tanh stay unless their exact name (or such a kind) is among these: ``only=["*", "se.gate"]``.
        skip: Activations to leave as they are, in the same forms as `only`.
        channel_dim: Dimension that holds the channels, for all sites or by name pattern, {"encoder.*": -1}. By default
            it is inferred from the layers before a site; where that is impossible, dimension 1 is assumed, with a
            `ConversionWarning`.

    Returns:
        A `Conversion`: `.model`, `.sites`, `.skipped`, `.proof`; printing it shows a table.

    Raises:
        ConversionError: The model does not run on the example, no activation was converted, a pattern matches nothing,
            `call_sites` is "refuse" and a module has several call sites, or the model does not run with the modules
            that a callable `to` returned.
        TypeError: A callable `to` cannot be called with one argument, or returned no module.
        ValueError: `to` or `call_sites` is unknown, or `init` is not finite.

    Example:
        >>> import torch
        >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 10))
        >>> conversion = convert(net, torch.randn(2, 3, 8, 8), init=0.0)
        >>> conversion.model[1], conversion.proof.output.largest
        (PReLU(num_parameters=8), 0.0)
    """
    _check(model, init, call_sites)
    target = Target(to, init, low_memory=low_memory)
    wrapped = unwrapped(model)
    given, inputs, selection = wrapped.inner, Inputs.of(example_inputs), Selection(only, skip)
    normal = normalise(copy_of(given), inputs, selection, call_sites=call_sites)
    sites = units(normal)
    normal.refusals += in_kernels(normal)
    selection.check()
    has_values = not any(t.is_meta for t in (*given.parameters(), *given.buffers()))
    reasons = bypassed(normal, [unit.module for unit in sites]) if has_values else {}
    normal.refusals += [Refusal(u.name, u.kind, reasons[u.module]) for u in sites if u.module in reasons]
    sites = [unit for unit in sites if unit.module not in reasons]
    installation = Installation(given, normal, target, prefix=wrapped.prefix)
    installation.plan(sites, read_again(normal, sites), channel_dim)
    close_fast_paths_(installation.model, installation.planned)
    spread = installation.check() if has_values else None
    installation.fill()
    if not installation.sites:
        raise ConversionError(_nothing_converted(given, normal))
    left = [refusal for refusal in normal.refusals if refusal.reached and not refusal.quiet]
    if left:
        first = f"{left[0].name} ({left[0].kind}): {left[0].reason}"
        warnings.warn(f"{len(left)} activations stay as they are, such as {first}", ConversionWarning, stacklevel=2)
    if fuse:
        installation.fuse()
        spread = installation.at_spread() if has_values else None
    installation.keep_inputs()
    proof = _proof(given, installation, target) if has_values else None
    if proof is not None and spread is not None:
        proof = replace(proof, slopes=spread.difference, slopes_in_float64=spread.in_float64)
        if not spread.agrees:
            warnings.warn(_disagrees(spread), ConversionWarning, stacklevel=2)
    converted, slopes_of = installation.model.train(given.training), installation.slopes_of()
    _restore_modes(given, converted)
    return Conversion(
        wrapped.around(converted),
        tuple(replace(site, name=wrapped.prefix + site.name) for site in installation.sites.values()),
        tuple(normal.refusals),
        proof,
        {wrapped.prefix + name: how for name, how in normal.rewritten.items()},
        (*wrapped.notes, *([normal.failure] if normal.failure else []), *installation.notes),
        _count(converted) - _count(given),
        _original(given, wrapped.prefix, slopes_of),
    )


def _original(given: nn.Module, prefix: str, slopes_of: Mapping[str, tuple[str, ...]]) -> Original:
    state = given.state_dict(prefix=prefix, keep_vars=True)
    return Original(
        {key: value.shape if isinstance(value, Tensor) else None for key, value in state.items()},
        {prefix + key: tuple(prefix + target for target in targets) for key, targets in slopes_of.items()},
        aliases(state),
        metadata_of(state),
    )


def _proof(given: nn.Module, installation: Installation, target: Target) -> Proof:
    normal, model = installation.normal, installation.model
    try:
        return prove(given, model, normal.inputs, installation.former, installation.slopes_of(), normal.modes)
    except Exception as error:  # the user's modules can raise anything
        if not target.custom:
            raise
        raise ConversionError(
            "the model does not run on example_inputs with the new activations: "
            f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
        ) from error


def _disagrees(spread: AtSpread) -> str:
    return (
        f"in {spread.where} outputs differ by {spread.difference} from those of the model given with PReLUs in the "
        "places of its activations: look at the proof before you use the new model, or convert with fuse=False"
    )


def _check(model: nn.Module, init: object, call_sites: str) -> None:
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    if not isinstance(init, (int, float)) or not math.isfinite(init):
        raise ValueError(f"init must be a finite number, got {init!r}")
    if call_sites not in get_args(CallSites):
        raise ValueError(f"unknown call_sites={call_sites!r}; {nearest(str(call_sites), get_args(CallSites))}")
    if isinstance(model, torch.jit.ScriptModule):
        raise ConversionError(
            "the model is a ScriptModule, whose activations cannot be seen or replaced: convert before "
            "torch.jit.script or trace"
        )
    lazy = [name for name, p in model.named_parameters() if isinstance(p, nn.parameter.UninitializedParameter)]
    if lazy:
        raise ConversionError(f"{lazy[0]} is not initialised yet: run the model once on the example, then convert it")


def _restore_modes(given: nn.Module, model: nn.Module) -> None:
    """Restore the training mode of each submodule, which can differ from the model's: frozen normalisation."""
    modes = {name: module.training for name, module in given.named_modules()}
    for name, module in model.named_modules():
        if name in modes:
            module.training = modes[name]


def _count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def _nothing_converted(model: nn.Module, normal: Normal) -> str:
    looked_for = ", ".join(kind.name for kind in KINDS)
    left = "; ".join(f"{r.name}: {r.reason}" for r in normal.refusals[:5])
    fused = sum(isinstance(module, BatchNormPReLU) for module in model.modules())
    return (
        f"no activation of {type(model).__name__} was converted. Looked for, as modules, functions, methods and in "
        f"place: {looked_for}. "
        + (f"Left as they are: {left}. " if left else "None is applied when the example is run. ")
        + (f"{fused} layers are fused PReLUs already; unfuse() them first. " if fused else "")
    ).strip()
