"""The evidence that a conversion changed nothing but what it was meant to: outputs and gradients, side by side."""

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
    """The largest difference of two sets of numbers, and the largest number of the first."""

    largest: float
    scale: float

    @property
    def relative(self) -> float:
        """The difference in units of the largest number."""
        return self.largest / self.scale if self.scale else (0.0 if self.largest == 0 else float("inf"))

    def __str__(self) -> str:
        return "0" if self.largest == 0 else f"{self.largest:.2g} ({self.relative:.2g} of the largest value)"


@dataclass(frozen=True)
class Proof:
    """How a converted model compares with the one given, on the example.

    Where a slope can say what the activation was, it is set to that for the comparison; where none can (ReLU6, GELU),
    the activation itself takes the site's place. So what is left is what the conversion did besides, and should be
    rounding. Gradients are those of a fixed random weighting of the outputs, with respect to inputs and parameters.

    Attributes:
        output: difference of the outputs.
        gradient: difference of the gradients; None where nothing requires one, or the given model has none.
        start: difference of the outputs as the model is now, with the initial slopes that were asked for.
        slopes: difference of the outputs at slopes that are all different, some negative and some above 1, from those
            of the model given with a PReLU of these slopes computed wherever it applies an activation of a site. With
            gradients, without, and in inference mode; the largest counts. None where passes of the model given differ
            from one another, or its activations could not be told in them.
        slopes_in_float64: the same difference in float64, where `slopes` is larger than rounding commonly is and this
            shows that it is rounding all the same; None where it was not needed, or shows no such thing.
        exact: sites that were compared with slopes.
        others: sites that were compared with their former activation.
        modes: in which the comparison was made; the larger difference counts.
        failure: of the given model's own backward pass; None where it works.
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
        original: the model given.
        converted: the model made of it.
        inputs: to run both on.
        former: for each site in `converted`, the activation that was there and the slope that says the same, if any.
        slopes_of: for each slope parameter of `original`, the ones that took its place in `converted`.
        modes: "training", "evaluation".
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
        except RuntimeError as error:  # a network for inference alone may change in place what gradients need
            failure = f"{mode} mode: {(str(error).splitlines() or [''])[0]}"
            wanted, expected = run(original, inputs, mode), {}
            outputs_alone = True
        got, found = (
            (run(comparable, inputs, mode), {}) if outputs_alone else outputs_and_gradients(comparable, inputs, mode)
        )
        outputs.append(difference(wanted, got))
        starts.append(difference(wanted, run(converted, inputs, mode, gradients=not outputs_alone)))
        found = _as_given(found, expected, original, slopes_of)
        shared = expected.keys() & found.keys()
        if shared:
            gradients.append(difference([expected[k] for k in shared], [found[k] for k in shared]))
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
    """Gradients by the names of the model given: of one slope that is many now the sum of theirs."""
    first = {parameter: name for name, parameter in original.named_parameters()}
    parameters = dict(original.named_parameters(remove_duplicate=False))
    places: defaultdict[str, list[str]] = defaultdict(list)
    for key, targets in slopes_of.items():
        if key in parameters:
            places[first[parameters[key]]] += targets
    found = {name: gradient for name, gradient in gradients.items() if name not in places}
    for name, targets in places.items():
        if name in wanted and targets and all(target in gradients for target in targets):
            like = wanted[name]
            parts = [g if g.shape == like.shape else g.sum().expand_as(like) for g in (gradients[t] for t in targets)]
            found[name] = torch.stack(parts).sum(0)
    return found


def run(model: nn.Module, inputs: Inputs, mode: str, *, gradients: bool = False) -> list[Tensor]:
    """The tensors that a model returns on copies of inputs; nothing about it is changed, nor the random state."""
    with undisturbed(model), torch.set_grad_enabled(gradients), torch.compiler.set_stance("force_eager"):
        model.train(mode == "training")
        given = inputs.copies()
        return [tensor.detach().clone() for tensor in tensors_in(model(*given.args, **given.kwargs))]


def tolerance(tensors: Iterable[Tensor]) -> float:
    """The relative difference taken for rounding: half the digits of the coarsest dtype, since errors add up.

    Example:
        >>> tolerance([torch.ones(1)]) == 2**-11.5
        True
    """
    return math.sqrt(max((_epsilon(t) for t in map(_real, tensors) if t.is_floating_point()), default=0.0))


def _epsilon(tensor: Tensor) -> float:
    # Convolutions on a GPU may round float32 to TF32, which has ten binary digits.
    return 2**-10 if tensor.is_cuda and tensor.dtype == torch.float32 else torch.finfo(tensor.dtype).eps


def outputs_and_gradients(model: nn.Module, inputs: Inputs, mode: str) -> tuple[list[Tensor], dict[str, Tensor]]:
    """What a model returns on copies of inputs, and gradients with respect to these and to its parameters, by name."""
    with undisturbed(model), torch.enable_grad(), torch.compiler.set_stance("force_eager"):
        model.train(mode == "training")
        leaves = inputs.copies(requires_grad=True)
        given = leaves.copies(detach=False)  # which the model may change in place
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
        found = torch.autograd.grad(
            torch.stack([loss.double().cpu() for loss in losses]).sum(), list(targets.values()), allow_unused=True
        )
        gradients = {name: gradient for name, gradient in zip(targets, found, strict=True) if gradient is not None}
        return [output.detach() for output in outputs], gradients


def difference(wanted: Iterable[Tensor], got: Iterable[Tensor]) -> Difference:
    """The largest difference between two lists of tensors; NaN where one has it is no difference.

    Example:
        >>> difference([torch.tensor([1.0, -4.0])], [torch.tensor([1.5, -4.0])])
        Difference(largest=0.5, scale=4.0)
    """
    largest, scale = 0.0, 0.0
    for one, other in zip(wanted, got, strict=True):
        a, b = (_real(tensor).detach().double().cpu() for tensor in (one, other))
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


def _size(found: Difference) -> float:
    return found.relative


def make_equal(site: nn.Module, activation: nn.Module, slope: float | Tensor | None) -> bool:
    """Let a site do what was there before; whether a slope could say it."""
    slopes = site.slope if isinstance(site, BatchNormPReLU) else site.weight if isinstance(site, PReLU) else None
    if slope is not None and slopes is not None and (isinstance(slope, float) or slope.numel() in (1, slopes.numel())):
        bounds = getattr(site, "bounds", None)
        if bounds is None:
            with torch.no_grad():
                slopes.copy_(torch.as_tensor(slope, dtype=slopes.dtype, device=slopes.device))
            return True
    site.register_forward_hook(partial(_instead, copy.deepcopy(activation)), with_kwargs=True)
    return False


def _instead(
    activation: Callable[..., Any], site: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], _: Any
) -> Any:
    if isinstance(site, BatchNormPReLU):
        return activation(site.pre_activation(*args, **kwargs))
    return activation(*args, **kwargs)
