"""A contrast in plain words, the same for terminal, page and JSON."""

from __future__ import annotations

from collections.abc import Set

from slopewise.analysis._metrics import METRICS
from slopewise.analysis._power import MOST_PAIRS
from slopewise.analysis._results import CautionId, Contrast

_OPENINGS = {
    "helps": "{arm} helps",
    "hurts": "{arm} hurts",
    "no practical effect": "{arm} has no practical effect",
    "inconclusive": "The effect of {arm} is inconclusive",
}


def sentence(contrast: Contrast) -> str:
    """Say what a contrast shows, what it rests on, and where it is inconclusive, what could have been shown.

    Example:
        >>> from slopewise.analysis import analyse
        >>> from slopewise.testing import synthetic_study
        >>> study = synthetic_study(("relu", "elu"), effects={"elu": 2.0})
        >>> print(sentence(analyse(study).primary[0]))
        elu helps: test accuracy +2.19 points against relu (95 % interval +1.61 to +2.78, 10 seeds, Holm p = 0.002).
    """
    opening = _OPENINGS[contrast.verdict].format(arm=contrast.arm)
    parts = [f"{opening}: {_figures(contrast)}."]
    if contrast.verdict in {"helps", "hurts"} and contrast.negligible:
        parts.append(f"That is less than the margin of {contrast.margin:g} {contrast.unit}.")
    if contrast.verdict == "no practical effect":
        parts.append(f"The whole interval lies within the margin of {contrast.margin:g} {contrast.unit}.")
    # Power is a matter of the differences' spread, which equal differences do not show.
    powerless = {caution.id for caution in contrast.cautions} & {"identical", "no-spread"}
    tells_power = contrast.verdict == "inconclusive" and bool(contrast.seeds) and not powerless
    if tells_power:
        parts.append(_power(contrast))
    told: set[CautionId] = {"too-few-seeds"} if tells_power else set()
    return " ".join([*parts, *_divergences(contrast), *_censoring(contrast), *_cautions(contrast, told)])


def _figures(contrast: Contrast) -> str:
    if contrast.difference is None:
        return f"no seed gives both arms a figure for {contrast.title}"
    digits = METRICS[contrast.metric].digits
    n = len(contrast.seeds)
    basis = [f"{n} seed{'s' if n > 1 else ''}"]
    if contrast.interval is not None:
        low, high = contrast.interval
        basis.insert(0, f"95 % interval {low:+z.{digits}f} to {high:+z.{digits}f}")
    if contrast.p_holm is not None:
        basis.append("Holm p < 0.001" if contrast.p_holm < 0.001 else f"Holm p = {contrast.p_holm:.2g}")
    return (
        f"{contrast.title} {contrast.difference:+z.{digits}f} {contrast.unit} against {contrast.control} "
        f"({', '.join(basis)})"
    )


def _power(contrast: Contrast) -> str:
    n, unit, digits = len(contrast.seeds), contrast.unit, METRICS[contrast.metric].digits
    if contrast.smallest_detectable is None:
        shown = f"With fewer than {contrast.seeds_floor} seeds no effect, however large, is sure to be shown"
    else:
        shown = f"{n} seeds show an effect of {contrast.smallest_detectable:.{digits}f} {unit} with 80 % power"
    if contrast.margin is None or contrast.sd is None:
        return f"{shown}."
    needed = contrast.seeds_needed
    if needed is not None and needed <= n:
        return f"{shown}."
    seeds = f"more than {MOST_PAIRS:,}" if needed is None else f"{needed:,}"
    return f"{shown}; one of {contrast.margin:g} {unit} needs {seeds} seeds."


def _divergences(contrast: Contrast) -> list[str]:
    counts = [(contrast.diverged, contrast.arm), (contrast.control_diverged, contrast.control)]
    who = " and ".join(f"{count} of {arm}" for count, arm in counts if count)
    if not who:
        return []
    if contrast.chance is None:
        return [f"Seeds that diverged ({who}) are left out."]
    return [f"Of {len(contrast.seeds)} seeds, {who} diverged; each counts as chance ({contrast.chance:.3g} %)."]


def _censoring(contrast: Contrast) -> list[str]:
    if not contrast.censored:
        return []
    of = f"{contrast.censored} of {len(contrast.seeds)} pairs"
    return [f"The target was never reached in {of}; there one epoch beyond the end counts."]


def _cautions(contrast: Contrast, told: Set[CautionId]) -> list[str]:
    reasons = [caution.brief for caution in contrast.cautions if caution.id not in told]
    return [f"Caution: {'; '.join(reasons)}."] if reasons else []
