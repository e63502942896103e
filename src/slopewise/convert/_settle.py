"""PReLUs whose slopes have settled, replaced by a ReLU, a LeakyReLU or an Identity.

Two conditions must hold. The slopes must be near 0, near 1 or near each other: a channel may happen to be positive on
the whole example, so that its slope has no effect there. And the measured change of the model's outputs must be small,
since even slopes near 0 can matter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from slopewise.convert._folding import FoldStep
from slopewise.convert._measured import Measured, largest_change
from slopewise.convert._refusal import Refusal, StaysError
from slopewise.convert._swap import WriteBack, has_hooks
from slopewise.nn import PReLU, pair
from slopewise.slopes import NEAR_0, NEAR_1
from slopewise.trace import ForwardTrace


@dataclass(eq=False)
class _Site:
    """A PReLU that may be replaced.

    Attributes:
        act: PReLU.
        slopes: Its slopes (C,) as they are used, within its bounds.
        place: Module to replace: the PReLU, or the one around it that writes its output over its input.
        why: Reason for which it stays, as far as it is known.
        settled: True once it is replaced.
    """

    act: nn.PReLU
    slopes: Tensor
    place: nn.Module
    why: str
    settled: bool = False


def settle_(measured: Measured, flow: ForwardTrace, tolerance: float) -> tuple[list[FoldStep], list[Refusal]]:
    """Replace PReLUs whose slopes have settled, in place.

    First come those whose replacement changes nothing, then those that become a ReLU or an Identity, then those that
    become a LeakyReLU; within each group, those that change least.

    Args:
        measured: Model to change.
        flow: Pass through it.
        tolerance: Largest relative change of an output by all replacements together.

    Returns:
        The steps, and refusals for the PReLUs that stay.
    """
    since, names, steps = measured.outputs, measured.names(), []
    sites, left = _sites(measured, flow)
    for value_of in (_exact, _end, _constant):
        options = []
        for site in (site for site in sites if not site.settled):
            value = value_of(site.slopes)
            if value is None:
                continue
            try:
                new = _stand_in(site, value, measured)
                options.append((_effect(measured, site, new) if value_of is not _exact else 0.0, site, new))
            except StaysError as why:
                site.why = str(why)
        for _, site, new in sorted(options, key=lambda option: option[0]):
            count = measured.count()
            try:
                change = measured.attempt({site.place: new}, tolerance, since)
            except StaysError as why:
                site.why = f"as {new} {why}, and {tolerance:g} is allowed"
                continue
            site.settled = True
            was = f"{type(site.act).__name__}({site.slopes.numel()})"
            steps.append(FoldStep("settle", names[site.place][0], was, str(new), change, count - measured.count()))
    left += [Refusal(names[site.act][0], "PReLU", site.why) for site in sites if not site.settled]
    return steps, left


def _effect(measured: Measured, site: _Site, new: nn.Module) -> float:
    """Return the relative change of the present outputs by one replacement."""
    return largest_change(measured.outputs, measured.outputs_with({site.place: new})).relative


def _exact(slopes: Tensor) -> float | None:
    """Return the number in [0, 1] that all slopes are equal to; None if there is none, or if it is only near 0 or 1.

    Example:
        >>> _exact(torch.tensor([0.25, 0.25])), _exact(torch.tensor([0.25, 0.5])), _exact(torch.tensor([1e-6]))
        (0.25, None, None)
    """
    first = float(slopes[0])
    alike = bool((slopes == first).all()) and 0 <= first <= 1
    return first if alike and _end(slopes) in (None, first) else None


def _end(slopes: Tensor) -> float | None:
    """Return 0.0 or 1.0 if all slopes are near it, else None.

    Example:
        >>> _end(torch.tensor([-0.001, 0.002])), _end(torch.tensor([0.96, 1.01])), _end(torch.tensor([0.0, 1.0]))
        (0.0, 1.0, None)
    """
    for end, width in ((0.0, NEAR_0), (1.0, NEAR_1)):
        if bool(((slopes - end).abs() <= width).all()):
            return end
    return None


def _constant(slopes: Tensor) -> float | None:
    """Return the mean of the slopes if all are near it and it is between 0 and 1, else None.

    Example:
        >>> _constant(torch.tensor([0.25, 0.25])), _constant(torch.tensor([-0.25, -0.25]))
        (0.25, None)
    """
    mean = float(slopes.mean())
    return mean if 0 < mean < 1 and bool(((slopes - mean).abs() <= NEAR_0).all()) else None


def _why_not(slopes: Tensor) -> str:
    """Return the reason for which slopes have not settled."""
    if not slopes.isfinite().all():
        return "its slopes are not all finite"
    low, high = float(slopes.min()), float(slopes.max())
    if low == high:
        return f"its slope {low:.4g} is not between 0 and 1"
    return f"its slopes, between {low:.4g} and {high:.4g}, are neither alike nor near 0 or 1"


def _sites(measured: Measured, flow: ForwardTrace) -> tuple[list[_Site], list[Refusal]]:
    reached = {call.module for call in flow.calls()}
    functions: dict[nn.Module, str] = {}
    for op in flow.ops():
        if op.name == "prelu" and op.module is None and not isinstance(op.call.module, nn.PReLU):
            functions.setdefault(op.call.module, f"a function applies the slopes, at {op.where or 'a place unknown'}")
    around = {module.act: module for module in measured.model.modules() if isinstance(module, WriteBack)}
    names = measured.names()
    sites, left = [], []
    for module, (name, *aliases) in names.items():
        if module in functions:
            left.append(Refusal(name, "prelu", functions[module]))
        if not isinstance(module, nn.PReLU):
            continue
        if is_parametrized(module):
            left.append(Refusal(name, "PReLU", "it is parametrised: remove_parametrizations() first"))
        elif type(module) not in (nn.PReLU, PReLU):
            kind = type(module).__name__
            left.append(Refusal(name, kind, f"a {kind} may compute something else than a PReLU"))
        elif module not in reached:
            left.append(Refusal(name, "PReLU", "the example does not reach it", reached=False))
        else:
            slopes, bounds = module.weight.detach().cpu().double(), getattr(module, "bounds", None)
            slopes = slopes if bounds is None else slopes.clamp(*bounds)
            outer = around.get(module, module)
            # A PReLU with hooks, or with names outside the module around it, must be replaced by itself.
            place = module if has_hooks(module) or len(aliases) + 1 > len(names[outer]) else outer
            sites.append(_Site(module, slopes, place, _why_not(slopes)))
    return sites, left


def _stand_in(site: _Site, value: float, measured: Measured) -> nn.Module:
    """Return a layer with a fixed slope to put in a site's place."""
    init = site.act.init
    if isinstance(init, float) and site.act.weight.dtype == torch.float32 and value == float(torch.tensor(init)):
        value = init  # as the user wrote it: 0.1, not 0.10000000149011612
    slope = torch.tensor([value], dtype=torch.float64)
    new = pair.activation(slope, value, None, learnable=False, low_memory=False).eval()
    if site.place is not site.act:
        if isinstance(new, (nn.ReLU, nn.LeakyReLU)):
            new.inplace = True
    elif isinstance(new, nn.Identity) and _is_written_to(site.place, new, measured):
        return nn.LeakyReLU(1.0).eval()  # returns a new tensor
    return new


def _is_written_to(place: nn.Module, identity: nn.Identity, measured: Measured) -> bool:
    """Return True if something writes to the output of an identity, which is its input, and may be needed elsewhere."""
    seen: list[tuple[Tensor, int]] = []

    def see(_module: nn.Module, _args: Any, output: Tensor) -> None:
        # `_version`, which autograd uses for the same purpose, counts writes; PyTorch has no public name for it.
        seen.append((output, output._version))

    handle = identity.register_forward_hook(see)
    try:
        measured.outputs_with({place: identity})
    finally:
        handle.remove()
    return any(tensor._version != version for tensor, version in seen)
