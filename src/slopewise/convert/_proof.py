"""Evidence that a conversion changed nothing but the activations: outputs and gradients of both models compared."""

from __future__ import annotations

import copy
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from slopewise.nn import BatchNormPReLU, PReLU
from slopewise.trace import Inputs, tensors_in, undisturbed


@dataclass(frozen=True)
class Difference:
    """Largest difference between two sets of numbers.

    Attributes:
        largest: Largest absolute difference.
        scale: Largest absolute value in the first set.
    """

    largest: float
    scale: float

    @property
    def relative(self) -> float:
        """The difference divided by the scale."""
        return self.largest / self.scale if self.scale else (0.0 if self.largest == 0 else float("inf"))

    def __str__(self) -> str:
        return "0" if self.largest == 0 else f"{self.largest:.2g} ({self.relative:.2g} of the largest value)"


@dataclass(frozen=True)
class Proof:
    """Comparison of a converted model with the one given, on the example.

    For the comparison, each site gets the slope at which a PReLU equals the former activation, or the former activation
    itself if there is no such slope (ReLU6, GELU). The remaining difference is due to the conversion, and should be
    rounding. Gradients are those of a fixed random weighting of the outputs, with respect to inputs and parameters.

    Attributes:
        output: Difference of the outputs.
        gradient: Difference of the gradients; None if nothing requires a gradient, or the given model has none.
        start: Difference of the outputs with the model as it is returned, at its initial slopes.
        exact: Number of sites that were compared at a slope.
        others: Number of sites that were compared with their former activation.
        modes: Modes in which the models were compared ("training", "evaluation"); the larger difference counts.
        failure: Failure of the given model's own backward pass; None if it works.
        slopes: Difference of the outputs at slopes that are all different, some negative and some above 1, from those
            of the model given with PReLUs of these slopes computed wherever it applies an activation of a site. The
            largest difference counts: with gradients, without, and in inference mode. None if passes of the model given
            differ from one another, or its activations were not found again in them.
        slopes_in_float64: Difference in float64, if `slopes` is larger than rounding usually is and this shows that it
            is rounding nevertheless; else None.
    """

    output: Difference
    gradient: Difference | None
    start: Difference
    exact: int
    others: int
    modes: tuple[str, ...]
    failure: str | None = None
    slopes: Difference | None = None
    slopes_in_float64: Difference | None = None


def prove(
    original: nn.Module,
    converted: nn.Module,
    inputs: Inputs,
    former: Mapping[str, tuple[nn.Module, float | Tensor | None]],
    slopes_of: Mapping[str, Sequence[str]],
    modes: Iterable[str],
) -> Proof:
    """Compare two models.

    Args:
        original: Model that was converted.
        converted: Converted model.
        inputs: Inputs on which both are run.
        former: Former activation at each site of `converted`, and the slope at which a PReLU equals it, if any.
        slopes_of: Slope parameters in `converted` that took the place of each slope parameter of `original`.
        modes: Modes to compare in, out of "training" and "evaluation".
    """
    modes = tuple(modes)
    comparable = copy.deepcopy(converted)
    exact = 0
    for name, (activation, slope) in former.items():
        exact += make_equal(comparable.get_submodule(name), activation, slope)
    outputs, gradients, starts = [], [], []
    failure = None
    for mode in modes:
        try:
            wanted, expected = outputs_and_gradients(original, inputs, mode)
            outputs_alone = False
        except (
            RuntimeError
        ) as error:  # a network for inference alone may overwrite tensors that the backward pass needs
            failure = f"{mode} mode: {(str(error).splitlines() or [''])[0]}"
            wanted, expected = run(original, inputs, mode), {}
            outputs_alone = True
        got, computed = (
            (run(comparable, inputs, mode), {}) if outputs_alone else outputs_and_gradients(comparable, inputs, mode)
        )
        outputs.append(difference(wanted, got))
        starts.append(difference(wanted, run(converted, inputs, mode, gradients=not outputs_alone)))
        computed = _as_given(computed, expected, original, slopes_of)
        shared = expected.keys() & computed.keys()
        if shared:
            gradients.append(difference([expected[k] for k in shared], [computed[k] for k in shared]))
    return Proof(
        max(outputs, key=_size),
        max(gradients, key=_size, default=None),
        max(starts, key=_size),
        exact,
        len(former) - exact,
        modes,
        failure,
    )


def _as_given(
    gradients: Mapping[str, Tensor],
    wanted: Mapping[str, Tensor],
    original: nn.Module,
    slopes_of: Mapping[str, Sequence[str]],
) -> dict[str, Tensor]:
    """Return gradients by the names of the model given: for a slope that became several, the sum of theirs."""
    first = {parameter: name for name, parameter in original.named_parameters()}
    parameters = dict(original.named_parameters(remove_duplicate=False))
    places: defaultdict[str, list[str]] = defaultdict(list)
    for key, targets in slopes_of.items():
        if key in parameters:
            places[first[parameters[key]]] += targets
    by_name = {name: gradient for name, gradient in gradients.items() if name not in places}
    for name, targets in places.items():
        if name in wanted and targets and all(target in gradients for target in targets):
            like = wanted[name]
            parts = [g if g.shape == like.shape else g.sum().expand_as(like) for g in (gradients[t] for t in targets)]
            by_name[name] = torch.stack(parts).sum(0)
    return by_name


def run(model: nn.Module, inputs: Inputs, mode: str, *, gradients: bool = False) -> list[Tensor]:
    """Return the outputs of a model on copies of inputs, and leave the model and the random state as they were.

    A model that is compiled runs eagerly, so that no compilation is started.
    """
    with undisturbed(model), torch.set_grad_enabled(gradients), torch.compiler.set_stance("force_eager"):
        model.train(mode == "training")
        given = inputs.copies()
        return [tensor.detach().clone() for tensor in tensors_in(model(*given.args, **given.kwargs))]


def tolerance(tensors: Iterable[Tensor]) -> float:
    """Return the largest relative difference that counts as rounding: half the digits of the coarsest dtype.

    It is that large because the errors of many layers add up.

    Example:
        >>> tolerance([torch.ones(1)]) == 2**-11.5
        True
    """
    return math.sqrt(max((_epsilon(t) for t in map(_real, tensors) if t.is_floating_point()), default=0.0))


def _epsilon(tensor: Tensor) -> float:
    # Convolutions on a GPU may round float32 to TF32, which has ten binary digits.
    return 2**-10 if tensor.is_cuda and tensor.dtype == torch.float32 else torch.finfo(tensor.dtype).eps


def outputs_and_gradients(model: nn.Module, inputs: Inputs, mode: str) -> tuple[list[Tensor], dict[str, Tensor]]:
    """Return the outputs of a model on copies of inputs, and its gradients with respect to inputs and parameters."""
    with undisturbed(model), torch.enable_grad(), torch.compiler.set_stance("force_eager"):
        model.train(mode == "training")
        leaves = inputs.copies(requires_grad=True)
        given = leaves.copies(detach=False)  # the model may change them in place, which leaves do not allow
        outputs = list(tensors_in(model(*given.args, **given.kwargs)))
        targets: dict[str, Tensor] = {name: p for name, p in model.named_parameters() if p.requires_grad}
        targets |= {f"input {n}": t for n, t in enumerate(tensors_in((leaves.args, leaves.kwargs))) if t.requires_grad}
        generator = torch.Generator().manual_seed(0)
        losses = [
            (output * torch.randn(output.shape, generator=generator).to(output)).sum()
            for output in map(_real, outputs)
            if output.requires_grad and output.is_floating_point()
        ]
        if not losses or not targets:
            return [output.detach() for output in outputs], {}
        computed = torch.autograd.grad(
            torch.stack([loss.double().cpu() for loss in losses]).sum(), list(targets.values()), allow_unused=True
        )
        gradients = {name: gradient for name, gradient in zip(targets, computed, strict=True) if gradient is not None}
        return [output.detach() for output in outputs], gradients


def difference(wanted: Iterable[Tensor], got: Iterable[Tensor]) -> Difference:
    """Return the largest difference between two lists of tensors; NaN in both at the same place is no difference.

    Example:
        >>> difference([torch.tensor([1.0, -4.0])], [torch.tensor([1.5, -4.0])])
        Difference(largest=0.5, scale=4.0)
    """
    largest, scale = 0.0, 0.0
    for pair in zip(wanted, got, strict=True):
        a, b = (_real(tensor).detach().double().cpu() for tensor in pair)
        if a.shape != b.shape:
            return Difference(float("inf"), scale)
        same = (a == b) | (a.isnan() & b.isnan())
        apart = torch.where(same, 0.0, (a - b).abs())
        if a.numel():
            largest = max(largest, float(apart.max())) if not apart.isnan().any() else float("inf")
            scale = max(scale, float(a.abs().nan_to_num(0.0, 0.0, 0.0).max()))
    return Difference(largest, scale)


def _real(tensor: Tensor) -> Tensor:
    """Return the real and imaginary parts of complex numbers, and other tensors as they are."""
    return torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor


def _size(measured: Difference) -> float:
    return measured.relative


def make_equal(site: nn.Module, activation: nn.Module, slope: float | Tensor | None) -> bool:
    """Make a site compute its former activation, by a slope or by a hook; return True if by a slope."""
    slopes = site.slope if isinstance(site, BatchNormPReLU) else site.weight if isinstance(site, PReLU) else None
    if slope is not None and slopes is not None and (isinstance(slope, float) or slope.numel() in (1, slopes.numel())):
        bounds = getattr(site, "bounds", None)
        if bounds is None:
            with torch.no_grad():
                slopes.copy_(torch.as_tensor(slope, dtype=slopes.dtype, device=slopes.device))
            return True
    site.register_forward_hook(partial(_former_output, copy.deepcopy(activation)), with_kwargs=True)
    return False


def _former_output(
    activation: Callable[..., Any], site: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], _: Any
) -> Any:
    if isinstance(site, BatchNormPReLU):
        return activation(site.pre_activation(*args, **kwargs))
    return activation(*args, **kwargs)
