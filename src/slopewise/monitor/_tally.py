"""Counts of one call site during one sampled step: sums on the device, read once at the end."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from slopewise.ops import units
from slopewise.ops.units import KeptSigns
from slopewise.recording import SiteSample

_ROWS = 6  # positive, NaN, not finite, reached, ‖dL/dz‖², ‖dL/dy‖²


class Tally:
    """Sums of one call site. Every method adds to them, without waiting for the device."""

    def __init__(self, site: str, activation: str, axis: int, z: Tensor) -> None:
        self.site, self.activation, self.axis, self.dims = site, activation, axis, z.ndim
        self.units = z.shape[axis] if z.ndim else 1
        self.values = self.gradients = 0  # known on the host: they follow from shapes
        wide = torch.float32 if z.device.type == "mps" else torch.float64
        self.sums = torch.zeros(_ROWS, self.units, dtype=wide, device=z.device)
        # Views, made once: to select rows anew costs more than to add to them.
        self._signs, self._reached, self._behind, self._before = self.sums.split((3, 1, 1, 1))
        self._squares, self._gradients = self.sums[4:], self.sums[3:]

    def fits(self, z: Tensor) -> bool:
        """Return True if the units of z are those counted here."""
        return z.ndim == self.dims and (not z.ndim or z.shape[self.axis] == self.units)

    @torch.no_grad()
    def see(self, z: Tensor, *, keep: bool = False) -> KeptSigns | None:
        """Count pre-activations; return their signs if they are to be kept, and can be."""
        signs, kept = units.kept_signs(z.detach(), self.axis) if keep else (units.signs(z.detach(), self.axis), None)
        self._signs.add_(signs)
        self.values += z.numel() // max(1, self.units)
        return kept

    @torch.no_grad()
    def reach(self, gradient: Tensor) -> None:
        """Count the units that the whole gradient at z reaches, by whatever paths it came."""
        self._reached.add_(units.reached(gradient.detach(), self.axis))
        self.gradients += 1

    @torch.no_grad()
    def pass_on(self, gradient_z: Tensor, gradient_y: Tensor) -> None:
        """Add up the squared gradients behind and before the activation."""
        self._squares.add_(units.squares(gradient_z.detach(), gradient_y.detach(), self.axis))

    @torch.no_grad()
    def rectify(self, kept: KeptSigns, gradient_y: Tensor) -> None:
        """Add up the squared gradients behind and before a ReLU with these pre-activations."""
        self._squares.add_(units.kept_squares(kept, gradient_y.detach(), self.axis))

    @torch.no_grad()
    def leave(self, gradient_z: Tensor) -> None:
        """Add up the squared gradient behind the activation alone."""
        self._behind.add_(units.squares(gradient_z.detach(), gradient_z.detach(), self.axis)[0])

    @torch.no_grad()
    def arrive(self, gradient_y: Tensor) -> None:
        """Add up the squared gradient before the activation alone."""
        self._before.add_(units.squares(gradient_y.detach(), gradient_y.detach(), self.axis)[0])

    @torch.no_grad()
    def pass_back(self, source: Tensor | KeptSigns, gradient_y: Tensor, slopes: Tensor) -> None:
        """Do all three for a fused layer, which shows no dL/dz: it follows from dL/dy and the signs of z."""
        gradient_y = gradient_y.detach()
        if isinstance(source, Tensor):
            self._gradients.add_(units.behind(source, gradient_y, slopes, self.axis))
        else:
            self._gradients.add_(units.kept_behind(source, gradient_y, slopes, self.axis))
        self.gradients += 1

    def pack(self) -> Tensor:
        """Return all sums as one flat tensor, which adds up over processes; `layout` says how to read it."""
        host = self.sums.new_tensor([float(self.values), float(self.gradients)])
        return torch.cat([self.sums.flatten(), host])

    @property
    def layout(self) -> SiteLayout:
        """Layout of the packed sums."""
        return SiteLayout(self.site, self.activation, self.units)


@dataclass(frozen=True, eq=False)
class UnitStates:
    """One call site unit by unit in the latest sample: tensors with one value for each unit, on the CPU.

    Attributes:
        site: Name of the call site.
        positive: Fraction of the pre-activations that are above 0.
        zero_gradient: True for units whose incoming weights no gradient reached; None without gradients.
        pass_through: Pass-through ‖dL/dz‖₂ / ‖dL/dy‖₂, NaN where dL/dy is 0; None without gradients.
    """

    site: str
    positive: Tensor
    zero_gradient: Tensor | None
    pass_through: Tensor | None


@dataclass(frozen=True, eq=False)
class SiteReading:
    """One call site in a sample.

    Attributes:
        sample: Call site as a whole.
        states: Function that makes the states unit by unit, which are rarely asked for.
    """

    sample: SiteSample
    states: Callable[[], UnitStates]


@dataclass(frozen=True)
class SiteLayout:
    """Layout of the numbers that `Tally.pack` gives for a call site: the same in every process.

    Attributes:
        site: Name of the call site.
        activation: Name of its activation.
        units: Number of its units.
    """

    site: str
    activation: str
    units: int

    @property
    def length(self) -> int:
        """Number of numbers."""
        return _ROWS * self.units + 2

    def decode(self, flat: Tensor) -> SiteReading | None:
        """Return what the sums show, once they are on the CPU; None where nothing was counted."""
        values, gradients = flat[-2:].tolist()
        if not values:
            return None
        learns = gradients > 0
        # For so few numbers Python is quicker.
        positive, nans, broken, reached, behind, before = flat[:-2].reshape(_ROWS, self.units).tolist()
        sample = SiteSample(
            site=self.site,
            activation=self.activation,
            units=self.units,
            values=int(values),
            positive=sum(positive) / (values * self.units),
            never_positive=tuple(unit for unit in _where(positive, 0) if not nans[unit]),
            always_positive=_where(positive, values),
            zero_gradient=_where(reached, 0) if learns else None,
            pass_through=_ratio(sum(behind), sum(before)) if learns else None,
            not_finite=tuple(unit for unit, count in enumerate(broken) if count > 0) if any(broken) else (),
        )
        return SiteReading(sample, partial(self._states, flat, values, learns))

    def _states(self, flat: Tensor, values: float, learns: bool) -> UnitStates:
        sums = flat[:-2].reshape(_ROWS, self.units)
        return UnitStates(
            self.site,
            sums[0] / values,
            sums[3] == 0 if learns else None,
            (sums[4] / sums[5]).sqrt() if learns else None,
        )


def _where(counts: Sequence[float], wanted: float) -> tuple[int, ...]:
    """Return the units with that count. Most often there are none, which one search of the list shows."""
    return tuple(unit for unit, count in enumerate(counts) if count == wanted) if wanted in counts else ()


def _ratio(behind: float, before: float) -> float | None:
    """Return ‖dL/dz‖ / ‖dL/dy‖ from their squares; None if it is not finite."""
    ratio = math.sqrt(behind / before) if before > 0 else math.nan
    return ratio if math.isfinite(ratio) else None
