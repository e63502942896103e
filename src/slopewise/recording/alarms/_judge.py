"""From samples to alarms: one rule for each alarm, with nothing but records and the thresholds to go by."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import NamedTuple

from slopewise.recording._sample import Sample, SiteSample, SlopeSample
from slopewise.recording._slope_summary import LARGEST
from slopewise.recording.alarms._alarm import Alarm, AlarmId, Thresholds

# f(z) = z for z > 0, up to a constant factor. GELU, SiLU, Mish and Hardswish are curved there.
_LINEAR_ABOVE = frozenset({"relu", "relu6", "leaky_relu", "prelu", "rrelu", "elu", "celu", "selu"})
_LINEAR_BELOW = frozenset({"leaky_relu", "prelu"})
_ABOVE = 3  # layers that give a median: a new head alone, with weights near 0, has a large ratio
_ONCE: frozenset[AlarmId] = frozenset({"not-finite", "starved-gradient"})  # of a run: the place moves, the matter stays
_Found = tuple[AlarmId, str, int, str]  # an alarm's id, where, since and evidence


@dataclass(frozen=True)
class Facts:
    """What is known of the slopes beside samples, each by layer: weight decay, learning rate, and how one is tied."""

    decays: Mapping[str, float] = field(default_factory=dict)
    rates: Mapping[str, float] = field(default_factory=dict)
    tied: Mapping[str, str] = field(default_factory=dict)


class _Streak(NamedTuple):
    """Something that held in each of the latest samples.

    Attributes:
        since: the step of the first of them.
        samples: how many.
        values: pre-activations of a unit that they saw.
    """

    since: int
    samples: int = 0
    values: int = 0

    def longer(self, values: int) -> _Streak:
        return _Streak(self.since, self.samples + 1, self.values + values)


class Judge:
    """Raises each alarm once for each place, and those that are about the whole net once."""

    def __init__(self, thresholds: Thresholds) -> None:
        self.thresholds = thresholds
        self._dead: dict[str, dict[int, _Streak]] = {}  # by site and unit
        self._raised: set[tuple[AlarmId, str]] = set()
        self._streaks: dict[tuple[str, str], _Streak] = {}
        self._first: dict[str, SlopeSample] = {}
        self._last_step = 0

    @property
    def dead(self) -> dict[str, dict[int, tuple[int, int]]]:
        """By site and unit: since when it is dead, and for how many samples."""
        return {
            site: {unit: (streak.since, streak.samples) for unit, streak in units.items()}
            for site, units in self._dead.items()
        }

    def see(self, sample: Sample, facts: Facts) -> list[Alarm]:
        """The alarms that this sample raises, in the order of the model.

        Example:
            >>> judge = Judge(Thresholds())
            >>> site = SiteSample("act", "relu", 4, 200, 0.2, (1, 2), (), (1, 2), 0.5)
            >>> [str(alarm) for step in (1, 51, 101) for alarm in judge.see(Sample(step, 1, (site,), (), ()), Facts())]
            ['step 101: dead-units at act: 2 of 4 units dead: 1 and 2; none of 600 values above 0, since step 1']
        """
        found = [
            *self._not_finite(sample),
            *self._starved(sample),
            *(alarm for site in sample.sites for alarm in self._site(sample.step, site)),
            *(alarm for slopes in sample.slopes for alarm in self._slope(sample.step, slopes, facts)),
        ]
        self._last_step = sample.step
        unwanted = self.thresholds.ignore
        new = [
            Alarm(kind, where, sample.step, since, evidence)
            for kind, where, since, evidence in found
            if kind not in unwanted and (kind, "" if kind in _ONCE else where) not in self._raised
        ]
        self._raised |= {(alarm.id, "" if alarm.id in _ONCE else alarm.where) for alarm in new}
        return new

    def _not_finite(self, sample: Sample) -> Iterator[_Found]:
        """The first place in the order of a step: weights before it, pre-activations, gradients, slopes after it.

        Among gradients the first is where the backward pass begins, which is the model's end.
        """
        weights = [layer.layer for layer in sample.layers if "weight" in layer.not_finite]
        sites = [site for site in sample.sites if site.not_finite]
        # Of which nothing came where a GradScaler has a fused optimizer leave the step out: that is its ordinary work.
        gradients = [layer.layer for layer in sample.layers if "gradient" in layer.not_finite and layer.update != 0]
        slopes = [layer.layer for layer in sample.slopes if layer.summary.finite < layer.summary.count]
        if weights:
            where, what = weights[0], "its parameters were so before this step"
        elif sites:
            where, what = sites[0].site, f"pre-activations of {len(sites[0].not_finite)} of {sites[0].units} units"
        elif gradients:
            where, what = gradients[-1], "its gradient"
        elif slopes:
            where, what = slopes[0], "its slopes"
        else:
            return
        parts = (
            (len(weights), len(sample.layers), "layers' parameters"),
            (len(sites), len(sample.sites), "call sites"),
            (len(gradients), len(sample.layers), "layers' gradients"),
            (len(slopes), len(sample.slopes), "layers' slopes"),
        )
        all_of_it = ", ".join(f"{count} of {total} {name}" for count, total, name in parts if count)
        yield "not-finite", where, self._last_step + 1, f"{what}; in all {all_of_it}"

    def _starved(self, sample: Sample) -> Iterator[_Found]:
        """Everything from the input up to one layer gets next to nothing of what the layers above it get.

        A sample with a norm that is not finite tells nothing of it: the layers that are left are no measure of all.
        """
        if any(layer.not_finite for layer in sample.layers):
            return
        ratios = [
            (layer.layer, layer.gradient / layer.weight)
            for layer in sample.layers
            if layer.gradient is not None and layer.weight
        ]
        last = None
        for count in range(1, len(ratios) - _ABOVE + 1):
            above = median(ratio for _, ratio in ratios[count:])
            if above > 0 and max(ratio for _, ratio in ratios[:count]) < self.thresholds.starved * above:
                last = count, above
        since = self._since("starved", "", last is not None, sample.step)
        if last is not None and since is not None:
            count, above = last
            name = ratios[count - 1][0]
            below = max(ratio for _, ratio in ratios[:count])
            evidence = f"gradient over weight is {below:.1e} at most from the input up to here, {above:.1e} above"
            yield "starved-gradient", name, since, evidence

    def _site(self, step: int, site: SiteSample) -> Iterator[_Found]:
        limits, units = self.thresholds, site.units
        known = self._dead.get(site.site, {})
        dead = self._dead[site.site] = {unit: known.get(unit, _Streak(step)).longer(site.values) for unit in site.dead}
        lasting = [unit for unit, streak in dead.items() if self._lasts(streak, limits.values)]
        if lasting and len(lasting) >= limits.dead * units:
            since, values = min(dead[unit].since for unit in lasting), min(dead[unit].values for unit in lasting)
            words = f"{len(lasting)} of {units} units dead: {_some(lasting)}; none of {values} values above 0"
            yield "dead-units", site.site, since, words
        stopped = set(site.zero_gradient or ())
        above = set(site.always_positive) - stopped if site.activation in _LINEAR_ABOVE else set()
        below = set(site.never_positive) - stopped if site.activation in _LINEAR_BELOW else set()
        linear = self._streak("linear", site.site, len(above | below) >= limits.linear * units, step, site.values)
        if linear is not None and self._lasts(linear, limits.values):
            sides = ((above, "below"), (below, "above"))
            words = " and ".join(f"{len(found)} of {units} units none {side} 0" for found, side in sides if found)
            yield "linear-site", site.site, linear.since, f"of {linear.values} values, {words}"

    def _slope(self, step: int, layer: SlopeSample, facts: Facts) -> Iterator[_Found]:
        name, limits, summary = layer.layer, self.thresholds, layer.summary
        if name not in self._first:
            yield from self._uninitialised(step, layer)
        first, most = self._first.setdefault(name, layer).summary, limits.most * summary.count
        held = facts.rates.get(name) == 0  # on purpose: nothing moves these slopes
        if name in facts.decays and not held:
            yield "slope-decayed", name, step, f"weight decay {facts.decays[name]:g} on {summary.count} slopes"
        if name in facts.tied:
            yield "slope-tied", name, step, facts.tied[name]
        yield from self._runaway(step, layer)
        bands: tuple[tuple[AlarmId, int, float, bool, str], ...] = (
            ("slope-negative", summary.negative, limits.negative, True, f"below -{limits.near_0:g}"),
            ("slope-above-1", summary.above_1, limits.above_1, True, f"above {1 + limits.near_1:g}"),
            # Where most began there, the layer has not become it.
            ("slope-near-0", summary.near_0, limits.most, first.near_0 < most, f"within {limits.near_0:g} of 0"),
            ("slope-near-1", summary.near_1, limits.most, first.near_1 < most, f"within {limits.near_1:g} of 1"),
        )
        for kind, slopes, share, judged, words in bands:
            since = self._since(kind, name, judged and slopes >= share * summary.count, step)
            if since is not None:
                evidence = f"{slopes} of {summary.count} slopes {words}; median {summary.median:.3g}"
                yield kind, name, since, evidence
        why = _why_stuck(layer) if layer.from_start == 0 and not held else ""
        stuck = self._streak("stuck", name, bool(why), step)
        if stuck is not None and stuck.samples >= limits.stuck:
            evidence = f"all {summary.count} at {summary.median:g}, where they began: {why}"
            yield "slope-stuck", name, stuck.since, evidence

    def _uninitialised(self, step: int, layer: SlopeSample) -> Iterator[_Found]:
        """Slopes that are larger, without the move of the first step, than any that is initialised or trained."""
        ends = (layer.summary.minimum, layer.summary.maximum)
        furthest = max(ends, key=abs)
        if abs(furthest) - (layer.update or 0.0) > LARGEST:
            count = layer.summary.count
            yield "slope-uninitialised", layer.layer, step, f"of {count} slopes one was {furthest:.3g} at the start"

    def _runaway(self, step: int, layer: SlopeSample) -> Iterator[_Found]:
        move = layer.update
        if move is not None and self.thresholds.runaway < move < math.inf:
            now = layer.summary
            place = f"to {now.minimum:.3g}"
            if now.count > 1:
                place = f"and the layer's reach from {now.minimum:.3g} to {now.maximum:.3g}"
            evidence = f"a slope moved by {move:.2g} in one step, {place}"
            yield "slope-runaway", layer.layer, step, evidence

    def _streak(self, what: str, where: str, holds: bool, step: int, values: int = 0) -> _Streak | None:
        """For how long something has held; None where it does not now."""
        if not holds:
            self._streaks.pop((what, where), None)
            return None
        streak = self._streaks[what, where] = self._streaks.get((what, where), _Streak(step)).longer(values)
        return streak

    def _since(self, what: str, where: str, holds: bool, step: int) -> int | None:
        """The first step of a streak that has lasted; None of one that has not."""
        streak = self._streak(what, where, holds, step)
        return streak.since if streak is not None and self._lasts(streak) else None

    def _lasts(self, streak: _Streak, values: int = 0) -> bool:
        return streak.samples >= self.thresholds.patience and streak.values >= values


def _why_stuck(layer: SlopeSample) -> str:
    """What holds slopes where they began; nothing where somebody may want it so: at a learning rate of 0."""
    if layer.update is None:
        return "no optimizer moves them"
    if not layer.gradient:
        return "no gradient reaches them"
    return "each move is too small for their dtype" if layer.summary.rounded else ""


def _some(units: list[int]) -> str:
    shown = [str(unit) for unit in units[:8]]
    rest = [f"{len(units) - 8} more"] if len(units) > 8 else []
    *most, last = shown + rest
    return f"{', '.join(most)} and {last}" if most else last
