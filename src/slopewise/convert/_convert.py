"""`convert`: every activation of a model becomes a PReLU of its own, and the evidence says what else changed."""

from __future__ import annotations

import math
import warnings
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from slopewise.activations import KINDS, sign_matters
from slopewise.convert._bypassed import bypassed, in_kernels
from slopewise.convert._conversion import Conversion, ConversionWarning, Site
from slopewise.convert._fast_paths import close_fast_paths_
from slopewise.convert._fuse import fuse_
from slopewise.convert._normal import Normal, Refusal, normalise
from slopewise.convert._places import Place
from slopewise.convert._proof import prove
from slopewise.convert._replace import (
    ChannelDim,
    Unit,
    WriteBack,
    channels_of,
    copy_of,
    put_,
    read_again,
    replacement,
    units,
)
from slopewise.convert._select import Patterns, Selection
from slopewise.convert._spread import AtSpread, Probed, at_spread, culprits
from slopewise.convert._wrappers import unwrapped
from slopewise.errors import ConversionError, nearest
from slopewise.modules import aliases
from slopewise.nn import BatchNormPReLU
from slopewise.trace import Inputs, ModuleCall

CallSites = Literal["separate", "shared", "refuse"]
TARGETS = ("prelu_channel", "prelu_shared")


def convert(
    model: nn.Module,
    example_inputs: Any,
    *,
    to: str | Callable[[int], nn.Module] = "prelu_channel",
    init: float = 0.25,
    fuse: bool = False,
    low_memory: bool = False,
    call_sites: CallSites = "separate",
    only: Patterns = None,
    skip: Patterns = None,
    channel_dim: ChannelDim = None,
) -> Conversion:
    """Give every call site of an activation in a model a PReLU of its own, and measure what else that changed.

    The example is run to see where activations are applied, whether by modules, functions (`F.relu`), methods
    (`x.relu_()`) or in place, and to how many channels. The model given is not changed. The new one keeps its class,
    its attributes and the names of its weights; device, dtype, training mode, `requires_grad` and hooks are kept.

    Where modules cannot simply be replaced, since a function is called, or one module at several places, the module
    that does so gets a rewritten forward pass: from its own source, or, in loops, helper functions and for a residual
    that is fused, from its torch.fx graph. `Conversion.rewritten` says where and why.

    Args:
        model: any module. torch.compile's and DataParallel's wrappers are seen through; of a model wrapped for
            DistributedDataParallel or FSDP convert the inner one, and wrap the result.
        example_inputs: a tensor, a tuple of positional arguments or a dict of keyword arguments. Two or more items
            a batch let it run in training mode as well.
        to: "prelu_channel", a slope for each channel; "prelu_shared", one for the site; or what builds any module
            for a number of channels, ``callable(channels) -> Module``.
        init: initial slopes. 0.0 preserves the function of a ReLU. LeakyReLU and PReLU keep the slopes they have.
        fuse: make batch normalisation and the PReLU after it, with a residual between them or not, one layer
            (`BatchNormPReLU2d`) wherever nothing else needs the value between.
        low_memory: of new PReLUs and fused layers: keep outputs for the backward pass instead of inputs, where that is
            safe, which it is not while slopes are below 2⁻¹⁰: at ``init=0.0`` nothing is saved before they have moved.
        call_sites: what to do with an activation module that is applied at several places. "separate" gives each
            place its own slopes, "shared" ties them on purpose, "refuse" raises an error that lists them. A block
            with weights that is applied several times shares these, and its slopes with them.
        only: convert nothing else: names ("layer1.*"), kinds ("relu"), classes (nn.ReLU), classes around them, or a
            sequence of these. Gates, limits, activations of parameters and kinds such as tanh stay unless their very
            name (or such a kind) is among these: ``only=["*", "se.gate"]``.
        skip: do not convert these; as `only`.
        channel_dim: the dimension that holds the channels, for all sites or by name pattern, {"encoder.*": -1}.
            Normally it is known from the layers before a site; where nothing tells it, dimension 1 is assumed, with a
            `ConversionWarning`.

    Returns:
        A `Conversion`: `.model`, `.sites`, `.skipped`, `.proof`; printing it shows a table.

    Raises:
        ConversionError: the model does not run on the example, no activation was found, a pattern matches nothing,
            or `call_sites="refuse"` met a module used at several places.

    Example:
        >>> import torch
        >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 10))
        >>> conversion = convert(net, torch.randn(2, 3, 8, 8), init=0.0)
        >>> conversion.model[1], conversion.proof.output.largest
        (PReLU(num_parameters=8), 0.0)
    """
    _check(model, to, init, call_sites)
    wrapped = unwrapped(model)
    given, inputs, selection = wrapped.inner, Inputs.of(example_inputs), Selection(only, skip)
    normal = normalise(copy_of(given), inputs, selection, call_sites=call_sites)
    found = units(normal)
    normal.refusals += in_kernels(normal)
    selection.check()
    state = _Replacing(normal, to, init, channel_dim, low_memory)
    has_values = not any(t.is_meta for t in (*given.parameters(), *given.buffers()))
    reasons = bypassed(normal, [unit.module for unit in found]) if has_values else {}
    normal.refusals += [Refusal(u.names[0], u.kind, reasons[u.module]) for u in found if u.module in reasons]
    found = [unit for unit in found if unit.module not in reasons]
    again = read_again(normal, found)
    for unit in found:
        state.convert(unit, written_back=unit.module in again)
    close_fast_paths_(state.model, [name for unit in state.units.values() for name in unit.names])
    spread = state.agree(given) if has_values and state.sites else None
    if not state.sites:
        raise ConversionError(_nothing_found(given, normal))
    left = [refusal for refusal in normal.refusals if refusal.reached and not refusal.quiet]
    if left:
        first = f"{left[0].name} ({left[0].kind}): {left[0].reason}"
        warnings.warn(f"{len(left)} activations stay as they are, such as {first}", ConversionWarning, stacklevel=2)
    if fuse:
        state.fuse()
        spread = state.at_spread(given, list(state.probed)) if has_values else None
    proof = prove(given, state.model, inputs, state.former, state.slopes_of(), normal.modes) if has_values else None
    if proof is not None and spread is not None:
        proof = replace(proof, slopes=spread.difference, slopes_in_float64=spread.in_float64)
        if not spread.agrees:
            warnings.warn(_disagrees(spread), ConversionWarning, stacklevel=2)
    state.model.train(given.training)
    _restore_modes(given, state.model)
    return Conversion(
        wrapped.around(state.model),
        tuple(replace(site, name=wrapped.prefix + site.name) for site in state.sites),
        tuple(normal.refusals),
        proof,
        {wrapped.prefix + name: how for name, how in normal.rewritten.items()},
        (*wrapped.notes, *([normal.failure] if normal.failure else []), *state.notes),
        _count(state.model) - _count(given),
        {wrapped.prefix + k: tuple(wrapped.prefix + t for t in ts) for k, ts in state.slopes_of().items()},
        aliases(model.state_dict(keep_vars=True)),
    )


class _Replacing:
    """The second half of a conversion: from the normal form to the new activations, and what is known of each."""

    def __init__(
        self,
        normal: Normal,
        to: str | Callable[[int], nn.Module],
        init: float,
        channel_dim: ChannelDim,
        low_memory: bool,
    ) -> None:
        self.normal, self.model = normal, normal.model
        self.to, self.init, self.channel_dim, self.low_memory = to, init, channel_dim, low_memory
        self.sites: list[Site] = []
        self.former: dict[str, tuple[nn.Module, float | Tensor | None]] = {}
        self.units: dict[str, Unit] = {}
        self.probed: dict[str, Probed] = {}
        self.places = _places_of(normal)
        self.alike: dict[str, bool] = {}  # by mode, True if the model given returns the same with gradients as without
        self.notes: list[str] = []

    def convert(self, unit: Unit, *, written_back: bool) -> None:
        """Replace one call site, or note why not."""
        shared = self.to == "prelu_shared"
        answer = channels_of(unit, self.channel_dim, shared=shared)
        if isinstance(answer, Refusal):
            self.normal.refusals.append(answer)
            return
        channels, dim, evidence = answer
        name, notes = unit.names[0], []
        if evidence == "assumed" and not shared:
            warnings.warn(
                f"{name}: nothing tells which dimension of its input {unit.found[0].input.shape} holds the channels, "
                f"and dimension 1 is assumed: pass channel_dim={{{name!r}: ...}}",
                ConversionWarning,
                stacklevel=3,
            )
        new = replacement(unit, self.to, self.init, channels, dim, low_memory=self.low_memory)
        slopes = sum(p.numel() for p in new.parameters())
        if written_back:
            notes.append("written over its input, which is read again")
            new, name = WriteBack(new), ".".join(filter(None, (name, "act")))
        if any(len(found.ops) > 1 for found in unit.found):
            gated = unit.kind in ("hardswish", "silu", "scaled_silu", "mish", "gelu")
            notes.append(f"{unit.kind} written out{', its gate included' if gated else ''}")
        told = self.normal.signs.get(unit.module)
        signs = [told] if told is not None else map(sign_matters, unit.found)
        notes += dict.fromkeys(filter(None, signs))
        if len(unit.names) > 1:
            notes.append(f"also known as {', '.join(unit.names[1:])}")
        self.former[name] = (unit.module, unit.found[0].slope)
        self.units[name] = unit
        self.model = put_(self.model, unit, new)
        if where := self.places.get(unit.module):
            self.probed[name] = Probed(1 if self.to == "prelu_shared" else channels, dim, where, unit.module)
        source = self.normal.origins.get(unit.module, type(unit.module).__name__)
        differs = unit.found[0].kind.differs
        if unit.kind == "prelu" and shared and isinstance(unit.module, nn.PReLU) and unit.module.weight.numel() > 1:
            differs = "slopes per channel become their mean"
        self.sites.append(
            Site(
                name,
                unit.kind,
                source,
                unit.found[0].input.shape,
                dim,
                evidence,
                slopes,
                unit.calls,
                differs=differs,
                notes=tuple(notes),
            )
        )

    def at_spread(self, given: nn.Module, names: Sequence[str]) -> AtSpread | None:
        """Compare with the oracle, with slopes of the spread at these sites."""
        if not names:
            return None
        others = {name: activation for name, (activation, _) in self.former.items() if name not in self.probed}
        modes = self.normal.modes
        return at_spread(given, self.model, self.normal.inputs, self.probed, names, others, modes, self.alike)

    def agree(self, given: nn.Module) -> AtSpread | None:
        """Put back what was there at the sites where PReLUs do not do what they should; the comparison for the rest."""
        found = self.at_spread(given, list(self.probed))
        if found is None or found.agrees:
            return found

        def fails(names: Sequence[str]) -> bool:
            one = self.at_spread(given, names)
            return one is not None and not one.agrees

        for name in culprits(fails, list(self.probed)):
            unit, site = self.units.pop(name), self.model.get_submodule(name)
            names = tuple(n for n, module in self.model.named_modules(remove_duplicate=False) if module is site)
            self.model = put_(self.model, Unit(site, names, unit.found, unit.calls), unit.module)
            self.sites = [site for site in self.sites if site.name != name]
            del self.former[name], self.probed[name]
            reason = (
                f"with a PReLU there, outputs in {found.where} would differ by {found.difference} from those of PReLUs "
                "at the same places of the model given: the code around computes the activation in another way"
            )
            self.normal.refusals.append(Refusal(unit.names[0], unit.kind, reason))
        return self.at_spread(given, list(self.probed))

    def fuse(self) -> None:
        """Fuse what can be fused."""
        passes = Normal(self.model, self.normal.inputs, self.normal.selection)
        passes.first, passes.flows = self.normal.first, dict(self.normal.flows)  # so that no more passes are made
        passes.observe()
        fusions, rewritten = fuse_(self.model, list(passes.flows.values()), low_memory=self.low_memory)
        for name, how in rewritten.items():
            self.normal.note(name, how)
        by_name = {fusion.activation: fusion for fusion in fusions}
        for number, site in enumerate(self.sites):
            fusion = by_name.get(site.name)
            if fusion is None:
                continue
            if fusion.why_not is not None:
                note = f"not fused with {fusion.normalisation}: {fusion.why_not}"
                self.sites[number] = replace(site, notes=(*site.notes, note))
                continue
            with_what = "BatchNorm + residual" if fusion.residual else "BatchNorm"
            self.sites[number] = replace(site, name=fusion.normalisation, fused=with_what)
            self.former[fusion.normalisation] = self.former.pop(site.name)
            self.units[fusion.normalisation] = self.units.pop(site.name)
            if site.name in self.probed:
                self.probed[fusion.normalisation] = self.probed.pop(site.name)
        self.notes.append(f"{sum(f.why_not is None for f in fusions)} of {len(self.sites)} sites are fused")

    def slopes_of(self) -> dict[str, tuple[str, ...]]:
        """For the keys of slopes in the model given, the keys that have them now."""
        found: dict[str, list[str]] = {}
        for name, unit in self.units.items():
            if isinstance(unit.module, nn.PReLU):
                fused = isinstance(self.model.get_submodule(name), BatchNormPReLU)
                target = f"{name}.{'slope' if fused else 'weight'}"
                # A module of several names has a key for each, all of the same values.
                origin = self.normal.copies.get(unit.module, unit.module)
                keys = [f"{first}.weight" for first in self.normal.first_names[origin]]
                for key in keys:
                    found.setdefault(key, [])
                found[target if target in keys else keys[0]].append(target)
        return {key: tuple(targets) for key, targets in found.items()}


def _places_of(normal: Normal) -> dict[nn.Module, dict[str, list[Place]]]:
    """By module of the normal form, the places of its activation in the model as it was given.

    The n-th activation of a pass is the n-th still; a site with one that cannot be told from others is left out.
    """
    found: defaultdict[nn.Module, dict[str, list[Place]]] = defaultdict(dict)
    unknown: set[nn.Module] = set()
    for key in normal.flows:
        modules = [step.module if isinstance(step, ModuleCall) else None for step, _ in normal.steps(mode=key)]
        first = normal.first.get(key, [])
        matched = first if len(first) == len(modules) else [None] * len(modules)
        for module, place in zip(modules, matched, strict=True):
            if module is not None and place is not None:
                found[module].setdefault(key, []).append(place)
            elif module is not None:
                unknown.add(module)
    return {module: where for module, where in found.items() if module not in unknown}


def _disagrees(spread: AtSpread) -> str:
    return (
        f"in {spread.where} outputs differ by {spread.difference} from those of the model given with PReLUs in the "
        "places of its activations: look at the proof before you use the new model, or convert with fuse=False"
    )


def _check(model: nn.Module, to: object, init: object, call_sites: str) -> None:
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    if not callable(to) and to not in TARGETS:
        raise ValueError(f"unknown to={to!r}; {nearest(str(to), [*TARGETS, 'a callable'])}")
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
    """Submodules can be in another mode than the model: frozen normalisation, for example."""
    modes = {name: module.training for name, module in given.named_modules()}
    for name, module in model.named_modules():
        if name in modes:
            module.training = modes[name]


def _count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def _nothing_found(model: nn.Module, normal: Normal) -> str:
    looked_for = ", ".join(kind.name for kind in KINDS)
    left = "; ".join(f"{r.name}: {r.reason}" for r in normal.refusals[:5])
    fused = sum(isinstance(module, BatchNormPReLU) for module in model.modules())
    return (
        f"no activation of {type(model).__name__} was converted. Looked for, as modules, functions, methods and in "
        f"place: {looked_for}. "
        + (f"Left as they are: {left}. " if left else "None is applied when the example is run. ")
        + (f"{fused} layers are fused PReLUs already; unfuse() them first. " if fused else "")
    ).strip()
