"""Call sites of a model in its normal form: the modules that apply an activation, and the channels of their inputs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from torch import Tensor, nn

from slopewise.activations import Activation
from slopewise.convert._normal import Normal
from slopewise.convert._proof import difference, run
from slopewise.convert._refusal import Refusal
from slopewise.convert._swap import set_module
from slopewise.trace import Axis, ModuleCall, Value

ChannelDim = int | Mapping[str, int] | None


@dataclass(frozen=True)
class Unit:
    """A module that is one call site.

    Attributes:
        module: Module in the normal form that applies the activation.
        names: All its names in the model.
        activations: Activation of each call, over all watched passes.
        calls: Number of calls in one pass.
    """

    module: nn.Module
    names: tuple[str, ...]
    activations: tuple[Activation, ...]
    calls: int

    @property
    def name(self) -> str:
        """The first name of the module."""
        return self.names[0]

    @property
    def kind(self) -> str:
        """The name of the activation's kind, such as "relu"."""
        return self.activations[0].kind.name

    @property
    def input(self) -> Value:
        """The input of the first call."""
        return self.activations[0].input


@dataclass(frozen=True)
class Channels:
    """Channels of a call site.

    Attributes:
        count: Number of channels.
        dim: Dimension of the input that holds them.
        evidence: Source of that: a layer, "the shape", "given", or "assumed".
    """

    count: int
    dim: int
    evidence: str


def units(normal: Normal) -> list[Unit]:
    """Return the call sites that the selection takes, in the order of the forward pass."""
    names, calls = normal.names(), defaultdict(list)
    per_pass: defaultdict[nn.Module, int] = defaultdict(int)
    taken: dict[nn.Module, bool] = {}
    for mode in normal.flows:
        count: defaultdict[nn.Module, int] = defaultdict(int)
        for step, activation in normal.steps(mode=mode):
            if isinstance(step, ModuleCall) and step.module in names and step.module not in normal.stuck:
                takes = normal.takes(names[step.module][0], step, activation)
                taken[step.module] = taken.get(step.module, True) and takes
                calls[step.module].append(activation)
                count[step.module] += 1
        for module, number in count.items():
            per_pass[module] = max(per_pass[module], number)
    return [
        Unit(module, tuple(names[module]), tuple(activations), per_pass[module])
        for module, activations in calls.items()
        if taken[module]
    ]


def channels_of(unit: Unit, given: ChannelDim, *, shared: bool) -> Channels | Refusal:
    """Return the channels of a call site; a refusal if its calls have no dimension or number of channels in common.

    Args:
        unit: Call site.
        given: `channel_dim` of `convert`; takes precedence over what the layers before the site say.
        shared: True if one slope serves all channels, so that calls may differ.
    """
    inputs, shape = [activation.input for activation in unit.activations], unit.input.shape
    if not unit.input.dtype.is_floating_point:
        reason = f"its input is {unit.input.dtype}, and a PReLU takes floating-point numbers"
        return Refusal(unit.name, unit.kind, reason)
    dim = _given(given, unit.name)
    evidence = "given"
    if dim is None:
        dims = {(_from_either_end(v.axis, v.shape), v.axis.evidence) for v in inputs if v.axis is not None}
        if len({d for d, _ in dims}) == 1:
            dim, evidence = next(iter(dims))
        elif len(shape) <= 2:
            dim, evidence = (1, "the shape") if len(shape) == 2 else (-1, "the shape")
        elif len(dims) > 1 and not shared:
            reason = f"its channels are in different dimensions: {sorted(d for d, _ in dims)}"
            return Refusal(unit.name, unit.kind, reason)
        else:
            dim, evidence = 1, "assumed"
    if not shared and any(not -len(v.shape) <= dim < len(v.shape) for v in inputs):
        return Refusal(unit.name, unit.kind, f"channel_dim={dim} is no dimension of its input {shape}")
    counts = {v.shape[dim] if -len(v.shape) <= dim < len(v.shape) else 1 for v in inputs}
    if len(counts) > 1 and not shared:
        listed = " and ".join(map(str, sorted(counts)))
        reason = f"it is applied to {listed} channels: to='prelu_shared' with call_sites='shared' gives it one slope"
        return Refusal(unit.name, unit.kind, reason)
    return Channels(max(counts), dim, evidence)


def _given(given: ChannelDim, name: str) -> int | None:
    if isinstance(given, Mapping):
        return next((dim for pattern, dim in given.items() if fnmatchcase(name, pattern)), None)
    return given


def _from_either_end(axis: Axis, shape: tuple[int, ...]) -> int:
    """Return the dimension as a layer takes it: 1 in batches of channels first, else counted from the end."""
    if axis.dim == 1:
        return 1
    return axis.dim - len(shape)


def read_again(normal: Normal, sites: Sequence[Unit]) -> set[nn.Module]:
    """Return the in-place activations whose input the network reads afterwards, expecting the output there.

    Found by trial: each of them is made a leaky ReLU, once in place and once not, and the outputs are compared. (ReLU
    would not show a difference where a second ReLU follows.) Without values, on the meta device, all in-place
    activations are returned.
    """
    in_place = [unit for unit in sites if unit.activations[0].inplace]
    if not in_place or any(p.is_meta for p in normal.model.parameters()):
        return {unit.module for unit in in_place}

    def outputs(not_in_place: Sequence[Unit]) -> list[list[Tensor]]:
        for unit in in_place:
            set_module(normal.model, unit.names, nn.LeakyReLU(0.37, inplace=unit not in not_in_place))
        return [run(normal.model, normal.inputs, mode) for mode in normal.modes]

    def differ(first: list[list[Tensor]], second: list[list[Tensor]]) -> bool:
        return any(difference(a, b).largest > 0 for a, b in zip(first, second, strict=True))

    try:
        all_in_place = outputs([])
        if not differ(all_in_place, outputs(in_place)):
            return set()
        return {unit.module for unit in in_place if differ(all_in_place, outputs([unit]))}
    finally:
        for unit in in_place:
            set_module(normal.model, unit.names, unit.module)
