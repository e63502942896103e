"""Comparison of a converted model with the oracle, at slopes that are spread over an interval.

Deep networks can amplify rounding, above all where batch normalisation divides by the standard deviation of a few
values. A comparison in float64 then tells rounding from faults.
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
# Range of the slopes: some are negative, some above 1, and on average they amplify no more than the identity.
_LOW, _HIGH = -0.5, 1.5
# Largest ratio of the difference between two results of a network in its own dtype to the error of one of them. If both
# are rounding, the two are of one order.
_CHANCE = 100.0
_SMALL = math.sqrt(torch.finfo(torch.float32).eps)  # difference in float64 of two networks that compute the same


@dataclass(frozen=True)
class Probed:
    """A site of a converted model that is given spread slopes.

    Attributes:
        channels: Number of slopes.
        channel_dim: Dimension of the input that holds the channels.
        places: Places of the activation in the model given, by mode; under "MODE, with gradients" those in the pass
            with gradients, if that takes other steps.
        input: Input of the activation on the example, for its dtype and device.
        former: Former activation.
    """

    channels: int
    channel_dim: int
    places: Mapping[str, Sequence[Place]]
    input: Value
    former: nn.Module


class _Way(NamedTuple):
    """A way of running a model."""

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
    """Largest difference of the outputs at spread slopes.

    Attributes:
        difference: Difference in the dtype of the models.
        where: Mode and way of running in which it occurred.
        allowed: Largest relative difference that counts as rounding without further evidence.
        in_float64: Difference in float64, if it shows that a larger one is rounding; else None.
    """

    difference: Difference
    where: str
    allowed: float
    in_float64: Difference | None = None

    @property
    def agrees(self) -> bool:
        """True if the difference is rounding."""
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
        given: Model that was converted.
        converted: Converted model.
        inputs: Inputs on which both are run.
        probed: Sites whose places in the model given are known, by name.
        chosen: Names of those that get spread slopes; the others get their former activation.
        others: Former activations of all other sites, by name, which they get as well.
        modes: Modes to compare in, out of "training" and "evaluation".
        alike: Cache for later comparisons of the same model: by mode, True if the model given returns the same with
            gradients as without.

    Returns:
        The largest difference; None if passes of the model given differ from one another, or fail at such slopes.
    """
    probe, slopes = _with_slopes(converted, probed, chosen, others)
    results: list[AtSpread] = []
    for mode in modes:
        try:
            wanted = _wanted(given, inputs, mode, probed, slopes, alike)
        except (PassesDifferError, RuntimeError, ValueError, ArithmeticError):  # code may take no negative numbers
            continue
        exactly = _InFloat64(given, probe, inputs, mode, probed, slopes)
        for way in _WAYS[: 2 if mode == "training" else 3]:
            if way.gradients not in wanted:
                continue
            with way.context():
                got = run(probe, inputs, mode, gradients=way.gradients)
            result = AtSpread(_apart(wanted[way.gradients], got), f"{mode} mode {way.name}", tolerance(got))
            if not result.agrees:
                again = _wanted(given, inputs, mode, probed, slopes, alike)[way.gradients]
                if _apart(wanted[way.gradients], again).relative > result.allowed:
                    return None
                result = replace(result, in_float64=exactly.rounding(wanted[way.gradients], result, way))
            results.append(result)
    return max(results, key=lambda result: (not result.agrees, result.difference.relative), default=None)


class _InFloat64:
    """The comparison of one mode in float64, made only where it is needed, since it takes time and memory."""

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
        # PyTorch's functions for nested structures have no public name. Without them, tensors inside lists and dicts
        # would keep their dtype.
        args, kwargs = torch.utils._pytree.tree_map_only(Tensor, _wide, (self._example.args, self._example.kwargs))
        return Inputs(args, kwargs)

    @cached_property
    def _wanted(self) -> dict[bool, list[Tensor]]:
        try:
            return _wanted(_widened(copy_of(self._given)), self._inputs, self._mode, self._probed, self._slopes, {})
        except Exception:  # a user's model that insists on another dtype can raise anything
            return {}

    @cached_property
    def _probe(self) -> nn.Module:
        return _widened(copy.deepcopy(self._converted))

    def rounding(self, wanted: Sequence[Tensor], measured: AtSpread, way: _Way) -> Difference | None:
        """Return the difference in float64 if it shows that a measured difference is rounding, else None.

        Two conditions must hold: the models agree in float64, and the oracle's outputs in the models' own dtype are as
        far from those in float64. The first alone would accept a faulty kernel that is only used for float32.

        Args:
            wanted: Outputs of the oracle in the models' own dtype.
            measured: Difference of the converted model's outputs from these.
            way: Way of running both.
        """
        exact, size = self._wanted.get(way.gradients), measured.difference.relative
        if exact is None or not math.isfinite(size) or size > _CHANCE * _apart(exact, wanted).relative:
            return None
        try:
            probe = self._probe
            with way.context():
                got = run(probe, self._inputs, self._mode, gradients=way.gradients)
        except Exception:  # as above; then there is no evidence, and the difference counts
            return None
        in_float64 = _apart(exact, got)
        return in_float64 if in_float64.relative <= min(_SMALL, measured.allowed) else None


def _widened(model: nn.Module) -> nn.Module:
    # Module.double() leaves complex tensors as they are. It is made of `_apply`, which has no public counterpart that
    # converts parameters and buffers, tied ones included, by any function.
    return model._apply(_wide)  # type: ignore[no-any-return]


def _wide(tensor: Tensor) -> Tensor:
    if tensor.is_complex():
        return tensor.to(torch.complex128)
    return tensor.double() if tensor.is_floating_point() else tensor


def _apart(wanted: Sequence[Tensor], got: Sequence[Tensor]) -> Difference:
    same_shapes = [tensor.shape for tensor in wanted] == [tensor.shape for tensor in got]
    return difference(wanted, got) if same_shapes else Difference(float("inf"), 0.0)


def _wanted(
    given: nn.Module,
    inputs: Inputs,
    mode: str,
    probed: Mapping[str, Probed],
    slopes: Mapping[str, Tensor],
    alike: dict[str, bool],
) -> dict[bool, list[Tensor]]:
    """Return the outputs of the oracle with gradients (True) and without (False).

    They are the same, unless the model given itself returns something else without gradients.
    """
    flows = {key for site in probed.values() for key in site.places}

    def with_references(*, gradients: bool) -> list[Tensor]:
        key = mode + WITH_GRADIENTS if gradients and mode + WITH_GRADIENTS in flows else mode
        instead: dict[Place, Reference] = {}
        for name, values in slopes.items():
            places = probed[name].places.get(key, ())
            instead |= dict.fromkeys(places, reference(values, probed[name].channel_dim))
        return expected(given, inputs, mode, instead, gradients=gradients)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # warnings of the model given were shown when it was run first
        try:
            wanted = with_references(gradients=True)
            if mode not in alike:
                own = [run(given, inputs, mode, gradients=gradients) for gradients in (True, False)]
                alike[mode] = _apart(*own).relative <= tolerance(own[0])
        except RuntimeError:  # a network for inference alone may overwrite tensors that the backward pass needs
            return {False: with_references(gradients=False)}
        if alike[mode]:
            return {True: wanted, False: wanted}
        return {True: wanted, False: with_references(gradients=False)}


def _with_slopes(
    converted: nn.Module, probed: Mapping[str, Probed], chosen: Sequence[str], others: Mapping[str, nn.Module]
) -> tuple[nn.Module, dict[str, Tensor]]:
    """Return a copy with spread slopes at the chosen sites, and these slopes by site."""
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
            slopes[name] = old.slope.detach().clone()  # rounded to the layer's dtype
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
    """Return the sites at which slopes make the outputs wrong, found by bisection.

    Args:
        fails: Function that returns True if the outputs are wrong with slopes at some sites only.
        names: Sites at which slopes make the outputs wrong together.

    Example:
        >>> culprits(lambda names: "c" in names, ["a", "b", "c", "d"])
        ['c']
    """
    if len(names) == 1:
        return list(names)
    middle = len(names) // 2
    halves = [half for half in (names[:middle], names[middle:]) if fails(half)]
    return [name for half in halves for name in culprits(fails, half)] if halves else list(names)
