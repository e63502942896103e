"""From the normal form to PReLU: what each call site becomes, and putting it there."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from torch import Tensor, nn

from slopewise.activations import Activation
from slopewise.convert._normal import Normal, Refusal
from slopewise.convert._proof import difference, run
from slopewise.errors import ConversionError
from slopewise.nn import PReLU
from slopewise.trace import Axis, ModuleCall, held_by

Factory = Callable[[int], nn.Module]
ChannelDim = int | Mapping[str, int] | None

_HOOKS = (
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_backward_pre_hooks",
    "_backward_hooks",
    "_is_full_backward_hook",
)


class WriteBack(nn.Module):
    """An activation whose output is written over its input too, as an in-place one does.

    It stands where the network reads the input again and means the output.
    """

    def __init__(self, act: nn.Module) -> None:
        super().__init__()
        self.act = act

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (PyTorch's name)
        """Apply, and overwrite the input. The activation gets a copy, which its backward pass may keep."""
        return input.copy_(self.act(input.clone()))


@dataclass(frozen=True)
class Unit:
    """A module that is one call site: where it is, and what it was applied to."""

    module: nn.Module
    names: tuple[str, ...]
    found: tuple[Activation, ...]  # one for each call
    calls: int  # in one pass

    @property
    def kind(self) -> str:
        """The kind's name."""
        return self.found[0].kind.name


def units(normal: Normal) -> list[Unit]:
    """The call sites of a model in its normal form that the selection takes, in the order of the forward pass."""
    names, calls = normal.names(), defaultdict(list)
    per_pass: defaultdict[nn.Module, int] = defaultdict(int)
    taken: dict[nn.Module, bool] = {}
    for mode in normal.flows:
        count: defaultdict[nn.Module, int] = defaultdict(int)
        for step, found in normal.steps(mode=mode):
            if isinstance(step, ModuleCall) and step.module in names and step.module not in normal.stuck:
                name = names[step.module][0]
                takes = normal.takes(name, step, found)
                taken[step.module] = taken.get(step.module, True) and takes
                calls[step.module].append(found)
                count[step.module] += 1
        for module, number in count.items():
            per_pass[module] = max(per_pass[module], number)
    return [
        Unit(module, tuple(names[module]), tuple(found), per_pass[module])
        for module, found in calls.items()
        if taken[module]
    ]


def channels_of(unit: Unit, given: ChannelDim, *, shared: bool) -> tuple[int, int, str] | Refusal:
    """Number and dimension of the channels at a site, and what says so; a refusal where no one answer holds."""
    inputs = [found.input for found in unit.found]
    name, value = unit.names[0], inputs[0]
    if not value.dtype.is_floating_point:
        return Refusal(name, unit.kind, f"its input is {value.dtype}, and a PReLU takes floating-point numbers")
    dim = _given(given, name)
    evidence = "given"
    if dim is None:
        dims = {(_from_either_end(v.axis, v.shape), v.axis.evidence) for v in inputs if v.axis is not None}
        if len({d for d, _ in dims}) == 1:
            dim, evidence = next(iter(dims))
        elif len(value.shape) <= 2:
            dim, evidence = (1, "the shape") if len(value.shape) == 2 else (-1, "the shape")
        elif len(dims) > 1 and not shared:
            return Refusal(name, unit.kind, f"its channels are in different dimensions: {sorted(d for d, _ in dims)}")
        else:
            dim, evidence = 1, "assumed"
    if not shared and any(not -len(v.shape) <= dim < len(v.shape) for v in inputs):
        return Refusal(name, unit.kind, f"channel_dim={dim} is no dimension of its input {value.shape}")
    counts = {v.shape[dim] if -len(v.shape) <= dim < len(v.shape) else 1 for v in inputs}
    if len(counts) > 1 and not shared:
        listed = " and ".join(map(str, sorted(counts)))
        reason = f"it is applied to {listed} channels: to='prelu_shared' with call_sites='shared' gives it one slope"
        return Refusal(name, unit.kind, reason)
    return max(counts), dim, evidence


def _given(given: ChannelDim, name: str) -> int | None:
    if isinstance(given, Mapping):
        return next((dim for pattern, dim in given.items() if fnmatchcase(name, pattern)), None)
    return given


def _from_either_end(axis: Axis, shape: tuple[int, ...]) -> int:
    """The dimension as a layer should have it: 1 in batches, from the end in tokens and what has no batch."""
    if axis.dim == 1:
        return 1
    return axis.dim - len(shape)


def replacement(
    unit: Unit, to: str | Factory, init: float, channels: int, channel_dim: int, *, low_memory: bool
) -> nn.Module:
    """What is to stand in the place of a site, on its device, in its dtype and training mode."""
    value, old = unit.found[0].input, unit.module
    if callable(to):
        new = to(channels).to(device=value.device)
        if isinstance(new, PReLU):
            new.channel_dim = channel_dim  # which the factory was not told
        new = new.to(dtype=value.dtype) if any(p.is_floating_point() for p in new.parameters()) else new
        return new.train(old.training)
    count = channels if to == "prelu_channel" else 1
    own = unit.found[0].slope
    slope = own if own is not None and unit.kind in ("prelu", "leaky_relu") else init
    if isinstance(slope, Tensor):
        if slope.is_meta or slope.numel() not in (1, count):
            slope = init if slope.is_meta else float(slope.mean())
        else:
            slope = slope.expand(count)
    bounds = getattr(old, "bounds", None)
    new = PReLU(count, slope, value.device, value.dtype, channel_dim=channel_dim, bounds=bounds, low_memory=low_memory)
    if isinstance(old, nn.PReLU):
        new.weight.requires_grad_(old.weight.requires_grad)
    return new.train(old.training)


def put_(model: nn.Module, unit: Unit, new: nn.Module) -> nn.Module:
    """Let `new` stand at all names of a site, with the hooks that were there; returns the model, which may be `new`."""
    for attribute in _HOOKS:
        if getattr(unit.module, attribute, None):
            setattr(new, attribute, getattr(unit.module, attribute))
    return set_module(model, unit.names, new)


def has_hooks(module: nn.Module) -> bool:
    """Whether a module has hooks of any sort."""
    return any(getattr(module, attribute) for attribute in _HOOKS)


def set_module(model: nn.Module, names: tuple[str, ...], new: nn.Module) -> nn.Module:
    """Let a module stand at some names in a model; returns the model, which is `new` where the name is its own."""
    for name in names:
        if not name:
            return new
        holder, _, attribute = name.rpartition(".")
        model.get_submodule(holder)._modules[attribute] = new
    return model


def read_again(normal: Normal, found: list[Unit]) -> set[nn.Module]:
    """The in-place activations whose input the network reads afterwards, and means the output.

    Found by trying: with each of them a leaky ReLU, once in place and once not, the outputs differ. (ReLU itself would
    not show it where a second ReLU follows.) Without values, on the meta device, every one is taken to be so.
    """
    in_place = [unit for unit in found if unit.found[0].inplace]
    if not in_place or any(p.is_meta for p in normal.model.parameters()):
        return {unit.module for unit in in_place}

    def outputs(not_in_place: list[Unit]) -> list[list[Tensor]]:
        for unit in in_place:
            set_module(normal.model, unit.names, nn.LeakyReLU(0.37, inplace=unit not in not_in_place))
        return [run(normal.model, normal.inputs, mode) for mode in normal.modes]

    def differ(one: list[list[Tensor]], other: list[list[Tensor]]) -> bool:
        return any(difference(a, b).largest > 0 for a, b in zip(one, other, strict=True))

    try:
        all_in_place = outputs([])
        if not differ(all_in_place, outputs(in_place)):
            return set()
        return {unit.module for unit in in_place if differ(all_in_place, outputs([unit]))}
    finally:
        for unit in in_place:
            set_module(normal.model, unit.names, unit.module)


def copy_of(model: nn.Module) -> nn.Module:
    """A deep copy; what the model kept of an earlier pass has no graph there, with which it could not be copied."""
    results = [t for t in held_by(model) if isinstance(t, Tensor) and t.grad_fn is not None]
    try:
        return copy.deepcopy(model, {id(tensor): tensor.detach().clone() for tensor in results})
    except Exception as error:  # copying runs code of the user's modules
        raise ConversionError(
            f"the model cannot be copied ({type(error).__name__}: {error}): conversion leaves the model given as it "
            "is, and so must copy it"
        ) from error
