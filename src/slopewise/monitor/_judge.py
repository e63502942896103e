"""From samples to alarms: one rule for each alarm, with nothing but records and the thresholds to go by."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from statistics import median

from slopewise.monitor._alarm import Alarm, AlarmId, Thresholds
from slopewise.monitor._sample import Sample, SiteSample, SlopeSample

_LATEST = 5  # samples in which "slope-runaway" counts large moves
_Found = tuple[AlarmId, str, int, str]  # an alarm's id, where, since and evidence


@dataclass(frozen=True)
class Facts:
    """What is known of the slopes beside samples, each by layer: weight decay, learning rate, and how one is tied."""

    decays: Mapping[str, float] = field(default_factory=dict)
    rates: Mapping[str, float] = field(default_factory=dict)
    tied: Mapping[str, str] = field(default_factory=dict)


class Judge:
    """Raises each alarm once for each place."""

    def __init__(self, thresholds: Thresholds) -> None:
        self.thresholds = thresholds
        self.dead: dict[str, dict[int, tuple[int, int]]] = {}  # by site and unit: since when, how many samples
        self._raised: set[tuple[AlarmId, str]] = set()
        self._streaks: dict[tuple[str, str], tuple[int, int]] = {}  # since which step, and for how many samples
        self._moves: dict[str, deque[tuple[int, float]]] = {}
        self._first: dict[str, SlopeSample] = {}
        self._last_step = 0

    def see(self, sample: Sample, facts: Facts) -> list[Alarm]:
        """The alarms that this sample raises, in the order of the model.

        Example:
            >>> judge = Judge(Thresholds())
            >>> site = SiteSample("act", "relu", 4, 10, 0.2, (1, 2), (), (1, 2), 0.5)
            >>> [str(alarm) for step in (1, 51, 101) for alarm in judge.see(Sample(step, 1, (site,), (), ()), Facts())]
            ['step 101: dead-units at act: 2 of 4 units dead: 1 and 2, since step 1']
        """
        found = [
            *self._not_finite(sample),
            *self._starved(sample),
            *(alarm for site in sample.sites for alarm in self._site(sample.step, site)),
            *(alarm for slopes in sample.slopes for alarm in self._slope(sample.step, slopes, facts)),
        ]
        self._last_step = sample.step
        new = [alarm for alarm in found if alarm[:2] not in self._raised]
        self._raised |= {alarm[:2] for alarm in new}
        return [Alarm(kind, where, sample.step, since, evidence) for kind, where, since, evidence in new]

    def _not_finite(self, sample: Sample) -> Iterator[_Found]:
        """The first place in the order of the forward pass; gradients are first where the backward pass begins."""
        if any(kind == "not-finite" for kind, _ in self._raised):
            return
        sites = [site for site in sample.sites if site.not_finite]
        weights = [layer for layer in sample.layers if "weight" in layer.not_finite]
        slopes = [layer for layer in sample.slopes if layer.summary.finite < layer.summary.count]
        gradients = [layer for layer in sample.layers if "gradient" in layer.not_finite]
        since = self._last_step + 1
        others = f"; in all {len(sites)} call sites, {len(weights) + len(slopes)} layers' parameters, "
        others += f"{len(gradients)} layers' gradients"
        if sites:
            first = sites[0]
            what = f"pre-activations of {len(first.not_finite)} of {first.units} units"
            yield "not-finite", first.site, since, what + others
        elif weights or slopes:
            where = weights[0].layer if weights else slopes[0].layer
            yield "not-finite", where, since, ("weights" if weights else "slopes") + others
        elif gradients:
            yield "not-finite", gradients[-1].layer, since, "gradients" + others

    def _starved(self, sample: Sample) -> Iterator[_Found]:
        """Everything from the input up to one layer gets next to nothing of what the layers above it get."""
        ratios = [
            (layer.layer, layer.gradient / layer.weight)
            for layer in sample.layers
            if layer.gradient is not None and layer.weight
        ]
        last = None
        for count in range(1, len(ratios)):
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
        limits = self.thresholds
        known = self.dead.get(site.site, {})
        dead = self.dead[site.site] = {
            unit: (since, samples + 1) for unit in site.dead for since, samples in [known.get(unit, (step, 0))]
        }
        lasting = [unit for unit, (_, samples) in dead.items() if samples >= limits.patience]
        if lasting and len(lasting) >= limits.dead * site.units:
            since = min(dead[unit][0] for unit in lasting)
            yield "dead-units", site.site, since, f"{len(lasting)} of {site.units} units dead: {_some(lasting)}"
        linear = len(site.always_positive)
        since_linear = self._since("linear", site.site, linear >= limits.linear * site.units, step)
        if since_linear is not None:
            evidence = f"{linear} of {site.units} units had no pre-activation below 0"
            yield "linear-site", site.site, since_linear, evidence

    def _slope(self, step: int, layer: SlopeSample, facts: Facts) -> Iterator[_Found]:
        name, limits, summary = layer.layer, self.thresholds, layer.summary
        first = self._first.setdefault(name, layer).summary
        if name in facts.decays:
            yield "slope-decayed", name, step, f"weight decay {facts.decays[name]:g} on {summary.count} slopes"
        if name in facts.tied:
            yield "slope-tied", name, step, facts.tied[name]
        yield from self._runaway(step, layer)
        bands: tuple[tuple[AlarmId, int, float, bool, str], ...] = (
            ("slope-negative", summary.negative, limits.negative, True, f"below -{limits.near_0:g}"),
            ("slope-above-1", summary.above_1, limits.above_1, True, f"above {1 + limits.near_1:g}"),
            # Where they began there, they have not become it.
            ("slope-near-0", summary.near_0, limits.most, first.near_0 < first.count, f"within {limits.near_0:g} of 0"),
            ("slope-near-1", summary.near_1, limits.most, first.near_1 < first.count, f"within {limits.near_1:g} of 1"),
        )
        for kind, slopes, share, judged, words in bands:
            since = self._since(kind, name, judged and slopes >= share * summary.count, step)
            if since is not None:
                evidence = f"{slopes} of {summary.count} slopes {words}; median {summary.median:.3g}"
                yield kind, name, since, evidence
        stuck = layer.from_start == 0 and facts.rates.get(name) != 0  # at rate 0 they are held on purpose
        if self._count("stuck", name, stuck, step) >= limits.stuck:
            gradient = layer.gradient
            why = "no gradient reaches them" if not gradient else "though they get a gradient"
            if layer.update is None:
                why = "no optimizer moves them"
            since = self._streaks["stuck", name][0]
            yield "slope-stuck", name, since, f"all {summary.count} at {summary.median:g}, where they began: {why}"

    def _runaway(self, step: int, layer: SlopeSample) -> Iterator[_Found]:
        if layer.update is None or not math.isfinite(layer.update):
            return
        moves = self._moves.setdefault(layer.layer, deque(maxlen=_LATEST))
        moves.append((step, layer.update))
        large = [(when, move) for when, move in moves if move > self.thresholds.runaway]
        if len(large) >= self.thresholds.runaway_samples:
            words = " and ".join(f"{move:.2g} in step {when}" for when, move in large[-2:])
            evidence = f"a slope moved by {words}; at this pace it crosses from 0 to 1 in {1 / large[-1][1]:.0f} steps"
            yield "slope-runaway", layer.layer, large[0][0], evidence

    def _count(self, what: str, where: str, holds: bool, step: int) -> int:
        """For how many samples in a row something has held."""
        if not holds:
            self._streaks.pop((what, where), None)
            return 0
        since, samples = self._streaks.get((what, where), (step, 0))
        self._streaks[what, where] = since, samples + 1
        return samples + 1

    def _since(self, what: str, where: str, holds: bool, step: int) -> int | None:
        """The first step of a streak that has lasted; None of one that has not."""
        enough = self._count(what, where, holds, step) >= self.thresholds.patience
        return self._streaks[what, where][0] if enough else None


def _some(units: list[int]) -> str:
    shown = [str(unit) for unit in units[:8]]
    rest = [f"{len(units) - 8} more"] if len(units) > 8 else []
    *most, last = shown + rest
    return f"{', '.join(most)} and {last}" if most else last
