"""A converted model compared with the oracle, with slopes of a spread at its sites.

Deep networks can make much of rounding, above all where batch normalisation divides by the spread of a few values. What
float32 shows is then told from a fault in float64.
"""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor, nn

from slopewise.convert._oracle import PassesDifferError, Reference, expected, reference
from slopewise.convert._places import WITH_GRADIENTS, Place
from slopewise.convert._proof import Difference, difference, make_equal, run, tolerance
from slopewise.convert._swap import copy_of, names_of, set_module
from slopewise.nn import BatchNormPReLU, PReLU
from slopewise.trace import Inputs, Value

_SEED = 0
_LOW, _HIGH = -0.5, 1.5  # of slopes: negative, above 1, and together no louder than the identity
_CHANCE = 100.0  # two roundings of one network may be so many times farther apart than one of them is from the truth
_SMALL = math.sqrt(torch.finfo(torch.float32).eps)  # difference in float64 of two networks that compute the same


@dataclass(frozen=True)
class Probed:
    """A site of a converted model that is given slopes of a spread.

    Attributes:
        channels: Number of slopes.
        channel_dim: the dimension of its input that holds the channels.
        places: by mode, where in the model given its activation is applied; "MODE, with gradients" where that pass is
            another one.
        input: Input of the activation on the example, for its dtype and device.
        former: the activation that was there.
    """

    channels: int
    channel_dim: int
    places: Mapping[str, Sequence[Place]]
    input: Value
    former: nn.Module


class _Way(NamedTuple):
    """Way of running a model."""

    name: str
    gradients: bool
    context: Callable[[], AbstractContextManager[object]]


_WAYS = (
    _Way("with gradients", gradients=True, context=nullcontext),
    _Way("without gradients", gradients=False, context=nullcontext),
    _Way("in inference mode", gradients=False, context=torch.inference_mode),
)


@dataclass(frozen=True)
class AtSpread:
    """The largest difference at a spread of slopes, where it was met, and what counts as rounding there.

    Attributes:
        difference: of the outputs, in the dtype that the models have.
        where: it was met: mode and way of running.
        allowed: Largest relative difference that is taken for rounding as it is.
        in_float64: difference of the outputs there, if that shows a larger one to be rounding.
    """

    difference: Difference
    where: str
    allowed: float
    in_float64: Difference | None = None

    @property
    def agrees(self) -> bool:
        """Return whether what differs is rounding."""
        return self.difference.relative <= self.allowed or self.in_float64 is not None


def at_spread(
    given: nn.Module,
    converted: nn.Module,
    inputs: Inputs,
    probed: Mapping[str, Probed],
    chosen: Sequence[str],
    others: Mapping[str, nn.Module],
    modes: Sequence[str],
    alike: dict[str, bool],
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
        alike: By mode, True if the model given returns the same with gradients as without. What is not there yet is
            found out and put there, for the next comparison of this model.

    Returns:
        The largest difference; None where passes of the model given differ from one another, or raise at such slopes.
    """
    probe, slopes = _with_slopes(converted, probed, chosen, others)
    found: list[AtSpread] = []
    for mode in modes:
        try:
            wanted = _wanted(given, inputs, mode, probed, slopes, alike)
        except (PassesDifferError, RuntimeError, ValueError, ArithmeticError):  # of code that takes no negative numbers
            continue
        exactly = _InFloat64(given, probe, inputs, mode, probed, slopes)
        for way in _WAYS[: 2 if mode == "training" else 3]:
            if way.gradients not in wanted:
                continue
            with way.context():
                got = run(probe, inputs, mode, gradients=way.gradients)
            one = AtSpread(_apart(wanted[way.gradients], got), f"{mode} mode {way.name}", tolerance(got))
            if not one.agrees:
                again = _wanted(given, inputs, mode, probed, slopes, alike)[way.gradients]
                if _apart(wanted[way.gradients], again).relative > one.allowed:
                    return None
                one = replace(one, in_float64=exactly.rounding(wanted[way.gradients], one, way))
            found.append(one)
    return max(found, key=lambda one: (not one.agrees, one.difference.relative), default=None)


class _InFloat64:
    """The comparison in one mode, in float64: made where it is first needed, for it takes time and memory."""

    def __init__(
        self,
        given: nn.Module,
        probe: nn.Module,
        inputs: Inputs,
        mode: str,
        probed: Mapping[str, Probed],
        slopes: Mapping[str, Tensor],
    ) -> None:
        self._given, self._converted, self._example = given, probe, inputs
        self._mode, self._probed, self._slopes = mode, probed, slopes

    @cached_property
    def _inputs(self) -> Inputs:
        args, kwargs = torch.utils._pytree.tree_map_only(Tensor, _wide, (self._example.args, self._example.kwargs))
        return Inputs(args, kwargs)

    @cached_property
    def _wanted(self) -> dict[bool, list[Tensor]]:
        try:
            return _wanted(_widened(copy_of(self._given)), self._inputs, self._mode, self._probed, self._slopes, {})
        except Exception:  # a user's model can raise anything where it insists on another dtype
            return {}

    @cached_property
    def _probe(self) -> nn.Module:
        return _widened(copy.deepcopy(self._converted))

    def rounding(self, wanted: Sequence[Tensor], found: AtSpread, way: _Way) -> Difference | None:
        """Return the difference in float64 where it shows that the one found is rounding, else None.

        Both must hold: the models agree in float64, and what the model given returns is, in its own dtype, far off from
        that too. By the first alone, a kernel that takes nothing but float32 would go through.

        Args:
            wanted: Outputs of the oracle in the models' own dtype.
            found: Difference of the converted model's outputs from these.
            way: Way of running both.
        """
        exact, seen = self._wanted.get(way.gradients), found.difference.relative
        if exact is None or not math.isfinite(seen) or seen > _CHANCE * _apart(exact, wanted).relative:
            return None
        try:
            probe = self._probe
            with way.context():
                got = run(probe, self._inputs, self._mode, gradients=way.gradients)
        except Exception:  # as above: then nothing is shown, and the difference counts
            return None
        rest = _apart(exact, got)
        return rest if rest.relative <= min(_SMALL, found.allowed) else None


def _widened(model: nn.Module) -> nn.Module:
    return model._apply(_wide)  # type: ignore[no-any-return]


def _wide(tensor: Tensor) -> Tensor:
    if tensor.is_complex():
        return tensor.to(torch.complex128)
    return tensor.double() if tensor.is_floating_point() else tensor


def _apart(one: Sequence[Tensor], other: Sequence[Tensor]) -> Difference:
    same_kind = [tensor.shape for tensor in one] == [tensor.shape for tensor in other]
    return difference(one, other) if same_kind else Difference(float("inf"), 0.0)


def _wanted(
    given: nn.Module,
    inputs: Inputs,
    mode: str,
    probed: Mapping[str, Probed],
    slopes: Mapping[str, Tensor],
    alike: dict[str, bool],
) -> dict[bool, list[Tensor]]:
    """Outputs of the oracle with gradients (True) and without (False).

    It is the same, unless the model given, too, returns something else without them.
    """
    flows = {key for site in probed.values() for key in site.places}

    def with_references(*, gradients: bool) -> list[Tensor]:
        key = mode + WITH_GRADIENTS if gradients and mode + WITH_GRADIENTS in flows else mode
        instead: dict[Place, Reference] = {}
        for name, values in slopes.items():
            there = probed[name].places.get(key, ())
            instead |= dict.fromkeys(there, reference(values, probed[name].channel_dim))
        return expected(given, inputs, mode, instead, gradients=gradients)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what the model given warns of was shown when it was run first
        try:
            wanted = with_references(gradients=True)
            if mode not in alike:
                own = [run(given, inputs, mode, gradients=gradients) for gradients in (True, False)]
                alike[mode] = _apart(*own).relative <= tolerance(own[0])
        except RuntimeError:  # a network for inference alone may change in place what gradients need
            return {False: with_references(gradients=False)}
        if alike[mode]:
            return {True: wanted, False: wanted}
        return {True: wanted, False: with_references(gradients=False)}


def _with_slopes(
    converted: nn.Module, probed: Mapping[str, Probed], chosen: Sequence[str], others: Mapping[str, nn.Module]
) -> tuple[nn.Module, dict[str, Tensor]]:
    """A copy with slopes of the spread at the sites chosen, and these slopes by site."""
    model, draws, slopes = copy.deepcopy(converted), torch.Generator().manual_seed(_SEED), {}
    sites = {name: model.get_submodule(name) for name in (*probed, *others)}

    def put(name: str, new: nn.Module) -> nn.Module:
        old = sites[name]
        return set_module(model, names_of(model, old), new.train(old.training))

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
            with torch.no_grad():
                old.slope.copy_(values if bounds is None else values.clamp(*bounds))
            slopes[name] = old.slope.detach().clone()  # as rounded to the layer's dtype
            continue
        new: nn.Module
        if name in chosen:
            like = site.input
            new = PReLU(site.channels, values, like.device, like.dtype, channel_dim=site.channel_dim)
            slopes[name] = new.weight.detach().clone()
        else:
            new = copy.deepcopy(site.former)
        model = put(name, new)
    return model, slopes


def culprits(fails: Callable[[Sequence[str]], bool], names: Sequence[str]) -> list[str]:
    """The sites whose slopes do not do what they should, by halving.

    Args:
        fails: Predicate that tells whether outputs are wrong with slopes at these sites alone.
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
