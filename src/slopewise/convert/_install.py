"""From the normal form to the new activations: sites are planned, checked against the oracle, and filled."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from torch import Tensor, nn

from slopewise.activations import sign_matters
from slopewise.convert._conversion import Site
from slopewise.convert._factory import SiteContext, Target
from slopewise.convert._fuse import fuse_
from slopewise.convert._normal import Normal
from slopewise.convert._overwritten import overwritten
from slopewise.convert._places import Place
from slopewise.convert._refusal import Refusal
from slopewise.convert._spread import AtSpread, Probed, at_spread, culprits
from slopewise.convert._swap import WriteBack, swap_
from slopewise.convert._units import ChannelDim, Channels, Unit, channels_of
from slopewise.errors import ConversionWarning
from slopewise.nn import BatchNormPReLU
from slopewise.trace import ModuleCall

_GATED = ("hardswish", "silu", "scaled_silu", "mish", "gelu")  # when written out, they contain a product


@dataclass(frozen=True)
class _Plan:
    """A call site that is to be converted.

    Attributes:
        unit: Module of the normal form that applies the activation.
        channels: Channels of its input.
        holder: Module that writes the output over the input, where that is read again; else None.
        places: By mode, the places of the activation in the model as it was given; None if they cannot be told.
    """

    unit: Unit
    channels: Channels
    holder: WriteBack | None
    places: Mapping[str, Sequence[Place]] | None

    @property
    def name(self) -> str:
        """The name of the module that applies the activation in the converted model."""
        return self.unit.name if self.holder is None else ".".join(filter(None, (self.unit.name, "act")))


class Installation:
    """The second half of a conversion: from the normal form to the converted model.

    The steps are `plan`, `check`, `fill`, perhaps `fuse`, and `keep_inputs`, in this order.

    Attributes:
        model: Model that is converted in place; another object once it is itself replaced.
        sites: Converted call sites by name, in the order of the forward pass.
        notes: Notes about the conversion.
    """

    def __init__(self, given: nn.Module, normal: Normal, target: Target, *, prefix: str) -> None:
        self.given, self.normal, self.target, self.prefix = given, normal, target, prefix
        self.model = normal.model
        self.sites: dict[str, Site] = {}
        self.notes: list[str] = []
        self._plans: dict[str, _Plan] = {}  # by the name of the site, which fusion changes
        self._alike: dict[str, bool] = {}  # by mode, True if the model given returns the same with gradients as without

    @property
    def planned(self) -> list[str]:
        """The names of the call sites that are going to be converted."""
        return [plan.unit.name for plan in self._plans.values()]

    @property
    def former(self) -> dict[str, tuple[nn.Module, float | Tensor | None]]:
        """For each site, the activation that was there, and the slope with which a PReLU computes the same, if any."""
        return {name: (plan.unit.module, plan.unit.activations[0].slope) for name, plan in self._plans.items()}

    def plan(self, units: Sequence[Unit], written_back: set[nn.Module], channel_dim: ChannelDim) -> None:
        """Decide which call sites are converted; the others are refused.

        Args:
            units: Call sites of the normal form, in the order of the forward pass.
            written_back: Modules among these whose output is to be written over their input.
            channel_dim: Dimension of the channels, as `convert` takes it.
        """
        places = _places_of(self.normal)
        for unit in units:
            channels = channels_of(unit, channel_dim, shared=self.target.shared)
            if isinstance(channels, Refusal):
                self.normal.refusals.append(channels)
                continue
            if channels.evidence == "assumed" and not self.target.shared:
                warnings.warn(
                    f"{unit.name}: nothing tells which dimension of its input {unit.input.shape} holds the channels, "
                    f"and dimension 1 is assumed: pass channel_dim={{{unit.name!r}: ...}}",
                    ConversionWarning,
                    stacklevel=3,
                )
            holder = None
            if unit.module in written_back:
                holder = WriteBack(unit.module)
                self.model = swap_(self.model, unit.module, holder)
            plan = _Plan(unit, channels, holder, places.get(unit.module))
            self._plans[plan.name] = plan

    def check(self) -> AtSpread | None:
        """Refuse the sites at which PReLUs would not do what they should; return the comparison for the others."""
        spread = self.at_spread()
        if spread is None or spread.agrees:
            return spread

        def fails(names: Sequence[str]) -> bool:
            part = self.at_spread(names)
            return part is not None and not part.agrees

        for name in culprits(fails, list(self._probed())):
            unit = self._withdraw(name).unit
            reason = (
                f"with a PReLU there, outputs in {spread.where} would differ by {spread.difference} from those of "
                "PReLUs at the same places of the model given: the code around computes the activation in another way"
            )
            self.normal.refusals.append(Refusal(unit.name, unit.kind, reason))
        return self.at_spread()

    def fill(self) -> None:
        """Put a new module at each planned site, in the order of the forward pass."""
        for name, plan in list(self._plans.items()):
            unit, channels = plan.unit, plan.channels
            context = SiteContext(
                self.prefix + unit.name,
                unit.kind,
                channels.count,
                channels.dim,
                unit.input.shape,
                self.normal.origin(unit.module),
            )
            new = self.target.build(unit, channels, context)
            if new is None:
                self._withdraw(name)
                self.normal.refusals.append(Refusal(unit.name, unit.kind, "`to` returned None for it", quiet=True))
                continue
            if plan.holder is None:
                self.model = swap_(self.model, unit.module, new)
            else:
                plan.holder.act = new  # the holder has the hooks
            self.sites[name] = self._site(plan, new)

    def fuse(self) -> None:
        """Fuse batch normalisation with the new PReLUs wherever that is possible."""
        passes = Normal(self.model, self.normal.inputs, self.normal.selection)
        passes.first, passes.flows = self.normal.first, dict(self.normal.flows)  # so that no more passes are made
        passes.observe()
        fusions, rewritten = fuse_(self.model, list(passes.flows.values()), low_memory=self.target.low_memory)
        for name, how in rewritten.items():
            self.normal.note(name, how)
        by_name = {fusion.activation: fusion for fusion in fusions}
        sites, plans = self.sites, self._plans
        self.sites, self._plans = {}, {}
        for name, site in sites.items():
            fusion, new_name = by_name.get(name), name
            if fusion is not None and fusion.why_not is not None:
                note = f"not fused with {fusion.normalisation}: {fusion.why_not}"
                site = replace(site, notes=(*site.notes, note))  # noqa: PLW2901
            elif fusion is not None:
                new_name, layers = fusion.normalisation, "BatchNorm + residual" if fusion.residual else "BatchNorm"
                site = replace(site, name=new_name, fused=layers)  # noqa: PLW2901
            self.sites[new_name], self._plans[new_name] = site, plans[name]
        self.notes.append(f"{sum(f.why_not is None for f in fusions)} of {len(self.sites)} sites are fused")

    def keep_inputs(self) -> None:
        """Turn low memory off where the model changes the output in place, so that it cannot be kept."""
        modules = {name: self.model.get_submodule(name) for name in self.sites}
        changed = overwritten(self.model, modules.values(), self.normal.inputs, self.normal.modes)
        for layer in changed:
            layer.low_memory = False
        note = "keeps its input for the backward pass, since its output is changed in place"
        for name, module in modules.items():
            if not set(module.modules()).isdisjoint(changed):
                self.sites[name] = replace(self.sites[name], notes=(*self.sites[name].notes, note))

    def at_spread(self, names: Sequence[str] | None = None) -> AtSpread | None:
        """Return the comparison with the oracle, with slopes of the spread at some sites; at all sites by default."""
        probed = self._probed()
        names = list(probed) if names is None else names
        if not names:
            return None
        others = {name: plan.unit.module for name, plan in self._plans.items() if name not in probed}
        normal = self.normal
        return at_spread(self.given, self.model, normal.inputs, probed, names, others, normal.modes, self._alike)

    def slopes_of(self) -> dict[str, tuple[str, ...]]:
        """Return, for each key of slopes in the model given, the keys that hold them in the converted model."""
        targets: dict[str, list[str]] = {}
        for name, plan in self._plans.items():
            if isinstance(plan.unit.module, nn.PReLU):
                fused = isinstance(self.model.get_submodule(name), BatchNormPReLU)
                target = f"{name}.{'slope' if fused else 'weight'}"
                # A module of several names has a key for each, all of the same values.
                origin = self.normal.origin(plan.unit.module)
                keys = [f"{first}.weight" for first in self.normal.first_names[origin]]
                for key in keys:
                    targets.setdefault(key, [])
                targets[target if target in keys else keys[0]].append(target)
        return {key: tuple(names) for key, names in targets.items()}

    def _withdraw(self, name: str) -> _Plan:
        """Leave a planned site as it was."""
        plan = self._plans.pop(name)
        if plan.holder is not None:
            self.model = swap_(self.model, plan.holder, plan.unit.module)
        return plan

    def _probed(self) -> dict[str, Probed]:
        """Return the sites whose places in the model given are known, with what the comparison needs of each."""
        return {
            name: Probed(
                1 if self.target.shared else plan.channels.count,
                plan.channels.dim,
                plan.places,
                plan.unit.input,
                plan.unit.module,
            )
            for name, plan in self._plans.items()
            if plan.places is not None
        }

    def _site(self, plan: _Plan, new: nn.Module) -> Site:
        unit, channels, former = plan.unit, plan.channels, plan.unit.module
        notes = []
        if plan.holder is not None:
            notes.append("written over its input, which is read again")
        if any(len(activation.ops) > 1 for activation in unit.activations):
            notes.append(f"{unit.kind} written out{', its gate included' if unit.kind in _GATED else ''}")
        known = self.normal.signs.get(former)
        signs = [known] if known is not None else map(sign_matters, unit.activations)
        notes += dict.fromkeys(filter(None, signs))
        if len(unit.names) > 1:
            notes.append(f"also known as {', '.join(unit.names[1:])}")
        differs = unit.activations[0].kind.differs
        if unit.kind == "prelu" and self.target.shared and isinstance(former, nn.PReLU) and former.weight.numel() > 1:
            differs = "slopes per channel become their mean"
        return Site(
            plan.name,
            unit.kind,
            self.normal.origins.get(former, type(former).__name__),
            unit.input.shape,
            channels.dim,
            channels.evidence,
            sum(p.numel() for p in new.parameters()),
            unit.calls,
            differs=differs,
            notes=tuple(notes),
        )


def _places_of(normal: Normal) -> dict[nn.Module, dict[str, list[Place]]]:
    """Return the places of activations in the model as it was given, by module of the normal form and by mode.

    The n-th activation of a pass through the normal form is the n-th of that pass through the model given. A module
    with an activation that cannot be told from others is left out.
    """
    places: defaultdict[nn.Module, dict[str, list[Place]]] = defaultdict(dict)
    unknown: set[nn.Module] = set()
    for key in normal.flows:
        modules = [step.module if isinstance(step, ModuleCall) else None for step, _ in normal.steps(mode=key)]
        first = normal.first.get(key, [])
        matched = first if len(first) == len(modules) else [None] * len(modules)
        for module, place in zip(modules, matched, strict=True):
            if module is not None and place is not None:
                places[module].setdefault(key, []).append(place)
            elif module is not None:
                unknown.add(module)
    return {module: by_mode for module, by_mode in places.items() if module not in unknown}
