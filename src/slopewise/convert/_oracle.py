"""An oracle for conversions: the model as it was given, with a reference PReLU computed at each call of an activation.

It knows nothing of how conversion rewrites a model: the n-th activation of a pass is computed otherwise, by PyTorch's
dispatch of functions and by hooks, in the model given. What the converted model returns is then compared with that, at
slopes that are all different, for at the slope that says the same a kernel that never calls the PReLU would not show.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from slopewise._flow import Inputs, tensors_in
from slopewise._record import Watch
from slopewise._undisturbed import undisturbed
from slopewise.convert._places import WITH_GRADIENTS, Place
from slopewise.convert._proof import Difference, difference, make_equal, run, tolerance
from slopewise.convert._replace import set_module
from slopewise.nn._batch_norm_prelu import BatchNormPReLU
from slopewise.nn._prelu import PReLU

_SEED = 0
_LOW, _HIGH = -0.5, 1.5  # of slopes: negative, above 1, and together no louder than the identity


class PassesDifferError(Exception):
    """The model given did not do in this pass what it did in the one that was watched."""


Reference = Callable[[Tensor], Tensor]


def reference(slopes: Tensor, channel_dim: int) -> Reference:
    """The PReLU f(x) = x for x > 0, else a·x, with a slope for each channel or one for all.

    Example:
        >>> reference(torch.tensor([0.5, 2.0]), 1)(torch.tensor([[-1.0, -1.0], [3.0, -0.5]])).tolist()
        [[-0.5, -2.0], [3.0, -1.0]]
    """

    def compute(x: Tensor) -> Tensor:
        shape = [1] * x.dim()
        if slopes.numel() > 1:
            shape[channel_dim] = slopes.numel()
        return torch.where(x > 0, x, slopes.to(x).reshape(shape) * x)

    return compute


class Oracle(Watch):
    """Watches a pass, and computes references in the places of activations."""

    def __init__(self, instead: Mapping[Place, Reference]) -> None:
        super().__init__()
        self.functions = {place.number: (place, ref) for place, ref in instead.items() if place.function is not None}
        self.modules = {place.number: (place, ref) for place, ref in instead.items() if place.function is None}
        self.left = len(instead)
        self._functions_begun = self._calls_begun = 0
        self._waiting: dict[int, tuple[Place, Reference, Tensor]] = {}

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        if not self.stack or self.stack[-1].op is not None:
            return super().__torch_function__(func, types, args, kwargs)
        call, planned = self.stack[-1], self.functions.get(self._functions_begun)
        count = len(call.steps)
        if planned is not None and func is planned[0].function:
            func = _computing(func, *planned)
            self.left -= 1
            del self.functions[self._functions_begun]
        result = super().__torch_function__(func, types, args, kwargs)
        self._functions_begun += len(call.steps) - count
        return result

    def enter(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Notice that a module is called, and keep its input where its output is to be another."""
        within = bool(self.stack) and self.stack[-1].op is not None
        super().enter(module, args, kwargs)
        if within:
            return
        planned = self.modules.get(self._calls_begun)
        self._calls_begun += 1
        given = next(tensors_in((args, kwargs)), None)
        if planned is not None and given is not None:
            place, ref = planned
            with torch._C.DisableTorchFunction():
                self._waiting[id(self.stack[-1])] = (place, ref, given.clone() if place.inplace else given)
            self.left -= 1

    def leave(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> Any:
        """Notice what it returned, and return something else in its place if that is planned."""
        call = self.stack[-1]
        super().leave(module, args, kwargs, result)
        planned = self._waiting.pop(id(call), None) if call.module is module else None
        if planned is None or not isinstance(result, Tensor):
            return None
        place, ref, given = planned
        with torch._C.DisableTorchFunction():
            instead = ref(given)
            return next(tensors_in((args, kwargs))).copy_(instead) if place.inplace else instead


def _computing(func: Any, place: Place, ref: Reference) -> Callable[..., Tensor]:
    def compute(*args: Any, **kwargs: Any) -> Tensor:
        given = list(tensors_in((args, kwargs)))[place.argument]
        return given.copy_(ref(given.clone())) if place.inplace else ref(given)

    compute.__name__ = getattr(func, "__name__", str(func))
    return compute


def _expected(
    model: nn.Module, inputs: Inputs, mode: str, instead: Mapping[Place, Reference], *, gradients: bool
) -> list[Tensor]:
    """Return the outputs of the given model with references in the places of its activations."""
    oracle = Oracle(instead)
    with undisturbed(model), torch.set_grad_enabled(gradients), torch.compiler.set_stance("force_eager"):
        model.train(mode == "training")
        with ExitStack() as hooks:
            hooks.enter_context(oracle.hooked(model.modules()))
            given = inputs.copies()
            with oracle:
                result = model(*given.args, **given.kwargs)
            if oracle.left:
                raise PassesDifferError
            return [tensor.detach().clone() for tensor in tensors_in(result)]


@dataclass(frozen=True)
class Probed:
    """A site of a converted model that is given slopes of a spread.

    Attributes:
        channels: how many slopes.
        channel_dim: the dimension of its input that holds the channels.
        places: by mode, where in the model given its activation is applied; "MODE, with gradients" where that pass is
            another one.
        former: the activation that was there.
    """

    channels: int
    channel_dim: int
    places: Mapping[str, Sequence[Place]]
    former: nn.Module


_WAYS = (
    ("with gradients", True, nullcontext),
    ("without gradients", False, nullcontext),
    ("in inference mode", False, torch.inference_mode),
)


@dataclass(frozen=True)
class AtSpread:
    """The largest difference at a spread of slopes, where it was met, and what counts as rounding there."""

    difference: Difference
    where: str
    allowed: float

    @property
    def agrees(self) -> bool:
        """Return whether what differs is rounding."""
        return self.difference.relative <= self.allowed


def at_spread(
    given: nn.Module,
    converted: nn.Module,
    inputs: Inputs,
    probed: Mapping[str, Probed],
    chosen: Sequence[str],
    others: Mapping[str, nn.Module],
    modes: Sequence[str],
) -> AtSpread | None:
    """Compare a converted model with the oracle, with and without gradients.

    Args:
        given: the model that was converted.
        converted: the model made of it.
        inputs: to run both on.
        probed: its sites whose places in the model given are known.
        chosen: the names of those that get slopes of the spread; the others get their former activation.
        others: its further sites, with their former activations, which they get, too.
        modes: "training", "evaluation".

    Returns:
        The largest difference; None where passes of the model given differ from one another, or raise at such slopes.
    """
    probe, slopes = _with_slopes(converted, probed, chosen, others)
    found: list[AtSpread] = []
    for mode in modes:
        try:
            wanted = _wanted(given, inputs, mode, probed, slopes)
        except (PassesDifferError, RuntimeError, ValueError, ArithmeticError):  # of code that takes no negative numbers
            continue
        for way, gradients, context in _WAYS[: 2 if mode == "training" else 3]:
            if gradients not in wanted:
                continue
            with context():
                got = run(probe, inputs, mode, gradients=gradients)
            one = AtSpread(_apart(wanted[gradients], got), f"{mode} mode {way}", tolerance(got))
            if not one.agrees:
                again = _wanted(given, inputs, mode, probed, slopes)[gradients]
                if _apart(wanted[gradients], again).relative > one.allowed:
                    return None
            found.append(one)
    return max(found, key=lambda one: one.difference.relative, default=None)


def _apart(one: Sequence[Tensor], other: Sequence[Tensor]) -> Difference:
    same_kind = [tensor.shape for tensor in one] == [tensor.shape for tensor in other]
    return difference(one, other) if same_kind else Difference(float("inf"), 0.0)


def _wanted(
    given: nn.Module, inputs: Inputs, mode: str, probed: Mapping[str, Probed], slopes: Mapping[str, Tensor]
) -> dict[bool, list[Tensor]]:
    """Outputs of the oracle with gradients (True) and without (False).

    It is the same, unless the model given, too, returns something else without them.
    """
    flows = {key for site in probed.values() for key in site.places}

    def expected(*, gradients: bool) -> list[Tensor]:
        key = mode + WITH_GRADIENTS if gradients and mode + WITH_GRADIENTS in flows else mode
        instead: dict[Place, Reference] = {}
        for name, values in slopes.items():
            there = probed[name].places.get(key, ())
            instead |= dict.fromkeys(there, reference(values, probed[name].channel_dim))
        return _expected(given, inputs, mode, instead, gradients=gradients)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what the model given warns of was shown when it was run first
        try:
            wanted = expected(gradients=True)
            own = [run(given, inputs, mode, gradients=gradients) for gradients in (True, False)]
        except RuntimeError:  # a network for inference alone may change in place what gradients need
            return {False: expected(gradients=False)}
        if _apart(*own).relative <= tolerance(own[0]):
            return {True: wanted, False: wanted}
        return {True: wanted, False: expected(gradients=False)}


def _with_slopes(
    converted: nn.Module, probed: Mapping[str, Probed], chosen: Sequence[str], others: Mapping[str, nn.Module]
) -> tuple[nn.Module, dict[str, Tensor]]:
    """A copy with slopes of the spread at the sites chosen, and these slopes by site."""
    model, draws, slopes = copy.deepcopy(converted), torch.Generator().manual_seed(_SEED), {}
    sites = {name: model.get_submodule(name) for name in (*probed, *others)}

    def put(name: str, new: nn.Module) -> nn.Module:
        old = sites[name]
        names = tuple(n for n, module in model.named_modules(remove_duplicate=False) if module is old)
        return set_module(model, names, new.train(old.training))

    for name, former in others.items():
        if isinstance(sites[name], BatchNormPReLU):
            make_equal(sites[name], former, None)
        else:
            model = put(name, copy.deepcopy(former))
    for name, site in probed.items():
        values = torch.rand(site.channels, generator=draws) * (_HIGH - _LOW) + _LOW
        old = sites[name]
        if isinstance(old, BatchNormPReLU):
            bounds = getattr(old, "bounds", None)
            slopes[name] = values if bounds is None else values.clamp(*bounds)
            with torch.no_grad():
                old.slope.copy_(slopes[name])
            continue
        new: nn.Module
        if name in chosen:
            slopes[name] = values
            new = PReLU(site.channels, channel_dim=site.channel_dim)
            tensor = next((t for t in old.parameters() if t.is_floating_point()), None)
            with torch.no_grad():
                new.weight.copy_(values)
            if tensor is not None:
                new.to(tensor)
        else:
            new = copy.deepcopy(site.former)
        model = put(name, new)
    return model, slopes


def culprits(fails: Callable[[Sequence[str]], bool], names: Sequence[str]) -> list[str]:
    """The sites whose slopes do not do what they should, by halving.

    Args:
        fails: whether outputs are wrong with slopes at these sites alone.
        names: sites with which they are.

    Example:
        >>> culprits(lambda names: "c" in names, ["a", "b", "c", "d"])
        ['c']
    """
    if len(names) == 1:
        return list(names)
    middle = len(names) // 2
    halves = [half for half in (names[:middle], names[middle:]) if fails(half)]
    return [name for half in halves for name in culprits(fails, half)] if halves else list(names)
