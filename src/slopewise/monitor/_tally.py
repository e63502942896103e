"""Counts of one call site during one sampled step: sums on the device, read once at the end."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from slopewise.ops import units
from slopewise.ops.units import KeptSigns
from slopewise.recording import SiteSample


class Tally:
    """Sums of one call site. Every method adds to them, without waiting for the device."""

    def __init__(self, site: str, activation: str, axis: int, z: Tensor) -> None:
        self.site, self.activation, self.axis, self.dims = site, activation, axis, z.ndim
        self.units = z.shape[axis] if z.ndim else 1
        self.values = self.gradients = 0  # known on the host: they follow from shapes
        self.sums = units.new_sums(self.units, z)

    def fits(self, z: Tensor) -> bool:
        """Return True if the units of z are those counted here."""
        return z.ndim == self.dims and (not z.ndim or z.shape[self.axis] == self.units)

    def see(self, z: Tensor, *, keep: bool = False) -> KeptSigns | None:
        """Count pre-activations; return their signs if they are to be kept, and can be."""
        self.values += z.numel() // max(1, self.units)
        return units.add_signs(self.sums, z, self.axis, keep=keep)

    def reach(self, gradient: Tensor) -> None:
        """Count the units that the whole gradient at z reaches, by whatever paths it came."""
        self.gradients += 1
        units.add_reached(self.sums, gradient, self.axis)

    def leave(self, gradient: Tensor) -> None:
        """Do `reach`, and count the gradient as what has passed the activation."""
        self.reach(gradient)
        self.pass_on(gradient, None)

    def arrive(self, gradient_y: Tensor) -> None:
        """Add up the squared gradient before the activation alone."""
        self.pass_on(None, gradient_y)

    def pass_on(self, gradient_z: Tensor | None, gradient_y: Tensor | None) -> None:
        """Add up the squared gradients behind and before the activation, or one of them alone."""
        units.add_squares(self.sums, gradient_z, gradient_y, self.axis)

    def rectify(self, kept: KeptSigns, gradient_y: Tensor) -> None:
        """Add up the squared gradients behind and before a ReLU with these pre-activations."""
        units.add_squares_kept(self.sums, kept, gradient_y, self.axis)

    def pass_back(self, source: Tensor | KeptSigns, gradient_y: Tensor, slopes: Tensor) -> None:
        """Do all for a fused layer, which shows no dL/dz: it follows from dL/dy and the signs of z."""
        self.gradients += 1
        units.add_behind(self.sums, source, gradient_y, slopes, self.axis)

    @property
    def broken(self) -> bool:
        """True if a pre-activation was NaN or infinite; waits for the device."""
        return bool(self.sums[2].any())

    @property
    def finite(self) -> bool:
        """True if neither a pre-activation nor a gradient was NaN or infinite; waits for the device."""
        return bool(self.sums[4:].isfinite().all()) and not self.broken

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
    """Layout of a call site's numbers in a packet: the same in every process.

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
        """Number of sums."""
        return units.ROWS * self.units

    def decode(self, flat: Tensor, sums: Sequence[float], values: float, gradients: float) -> SiteReading:
        """Return what the sums show, once they are on the CPU.

        Args:
            flat: The sums.
            sums: The same as numbers: for so few, Python is quicker.
            values: Number of pre-activations of each unit.
            gradients: Number of gradients.
        """
        learns = gradients > 0
        rows = (sums[row * self.units : (row + 1) * self.units] for row in range(units.ROWS))
        positive, nans, broken, reached, behind, before = rows
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
        sums = flat.reshape(units.ROWS, self.units)
        return UnitStates(
            self.site,
            sums[0] / values,
            sums[3] == 0 if learns else None,
            (sums[4] / sums[5]).sqrt() if learns else None,
        )


@dataclass(frozen=True)
class SiteTable:
    """All call sites of a packet, as one flat tensor, which adds up over processes."""

    sites: Sequence[SiteLayout]

    def pack(self, tallies: Mapping[str, Tally], device: torch.device | None) -> Tensor:
        """Return the sums of the sites, with zeros for one that `tallies` lacks or that has other units there.

        Args:
            tallies: Sums by call site.
            device: Device of the zeros where there are no tallies.
        """
        like = next((tally.sums for tally in tallies.values()), torch.empty(0, device=device))
        counts, sums = [], []
        for site in self.sites:
            tally = tallies.get(site.site)
            if tally is None or tally.units != site.units:
                counts += [0.0, 0.0]
                sums.append(like.new_zeros((site.length,)))
            else:
                counts += [float(tally.values), float(tally.gradients)]
                sums.append(tally.sums.flatten())
        return torch.cat([like.new_tensor(counts), *sums])

    def decode(self, flat: Tensor) -> list[SiteReading]:
        """Return what the sums show, once they are on the CPU, without sites where nothing was counted."""
        numbers = flat.tolist()
        place = 2 * len(self.sites)
        _, *parts = flat.split([place, *(site.length for site in self.sites)])
        readings = []
        for number, (site, part) in enumerate(zip(self.sites, parts, strict=True)):
            values, gradients = numbers[2 * number : 2 * number + 2]
            if values:
                readings.append(site.decode(part, numbers[place : place + site.length], values, gradients))
            place += site.length
        return readings


def _where(counts: Sequence[float], wanted: float) -> tuple[int, ...]:
    """Return the units with that count. Most often there are none, which one search of the list shows."""
    return tuple(unit for unit, count in enumerate(counts) if count == wanted) if wanted in counts else ()


def _ratio(behind: float, before: float) -> float | None:
    """Return ‖dL/dz‖ / ‖dL/dy‖ from their squares; None if it is not finite."""
    ratio = math.sqrt(behind / before) if before > 0 else math.nan
    return ratio if math.isfinite(ratio) else None
