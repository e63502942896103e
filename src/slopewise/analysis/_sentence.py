"""Contrasts in plain words, the same on the terminal, on the page and in JSON."""

from __future__ import annotations

from collections.abc import Set

from slopewise.analysis._about import about
from slopewise.analysis._few import too_few
from slopewise.analysis._forecast import look_words
from slopewise.analysis._power import Design
from slopewise.analysis._results import CautionId, Contrast
from slopewise.analysis._undecided import undecided
from slopewise.analysis._verdict import within
from slopewise.records import amount

_OPENINGS = {
    "helps": "{arm} helps",
    "hurts": "{arm} hurts",
    "no practical effect": "{arm} has no practical effect",
    "inconclusive": "The effect of {arm} is inconclusive",
}


def sentence(contrast: Contrast) -> str:
    """Return the result of a contrast in words, with its basis and, if it is inconclusive, its power.

    Example:
        >>> from slopewise.analysis import analyse
        >>> from slopewise.testing import synthetic_study
        >>> study = synthetic_study(("relu", "elu"), effects={"elu": 2.0})
        >>> print(sentence(analyse(study).primary[0]))
        elu helps: test accuracy +2.19 points against relu (95 % interval +1.61 to +2.87, 10 seeds, Holm p = 0.002). \
All 10 seeds trained; divergence of up to 26 % of the trials of either arm is not excluded.
    """
    opening = _OPENINGS[contrast.verdict].format(arm=contrast.arm)
    parts = [f"{opening}: {_figures(contrast)}."]
    margin = _margin(contrast)
    if contrast.verdict in {"helps", "hurts"} and contrast.negligible:
        parts.append(f"That is less than the margin of {margin}.")
    if contrast.verdict == "no practical effect":
        parts.append(f"The whole interval lies within the margin of {margin}.")
    if reason := undecided_words(contrast):
        parts.append(f"{reason[0].upper()}{reason[1:]}.")
    # Power follows from the spread of the differences, and two networks that are one function have none.
    powerless = any(caution.id == "identical" for caution in contrast.cautions)
    parts += _look(contrast)
    tells_power = not contrast.looks and contrast.verdict == "inconclusive" and bool(contrast.seeds) and not powerless
    if tells_power:
        parts.append(_power(contrast))
    covered: set[CautionId] = {"too-few-seeds", "lost-pairs"} if tells_power else {"lost-pairs"}
    return " ".join([*parts, *_divergences(contrast), *_censoring(contrast), *_cautions(contrast, covered)])


def undecided_words(contrast: Contrast) -> str:
    """Return a clause that says why an inconclusive contrast has no verdict although it seems to have one, or "".

    In an adaptive study, the sentence about the last look says it (`look_words`).
    """
    last = bool(contrast.looks) and (contrast.look is None or contrast.look == contrast.looks[-1])
    if contrast.verdict != "inconclusive" or last:
        return ""
    return undecided(
        contrast.interval,
        contrast.p,
        contrast.p_holm,
        design=Design(len(contrast.seeds), None if contrast.paired else len(contrast.control_seeds)),
        tests=contrast.tests,
        inside=contrast.interval is not None and bool(within(*contrast.interval, contrast.margin)),
        looks=bool(contrast.looks),
    )


def verdict_words(contrast: Contrast) -> str:
    """Return the verdict as tables show it, with "negligible" if the effect is smaller than the margin.

    Example:
        >>> from dataclasses import replace
        >>> from slopewise.analysis import analyse
        >>> from slopewise.testing import synthetic_study
        >>> contrast = analyse(synthetic_study(("relu", "elu"), effects={"elu": 2.0})).primary[0]
        >>> verdict_words(contrast), verdict_words(replace(contrast, negligible=True))
        ('helps', 'helps, negligible')
    """
    shown = contrast.verdict in {"helps", "hurts"}
    return f"{contrast.verdict}, negligible" if shown and contrast.negligible else contrast.verdict


def p_words(p: float) -> str:
    """Return a p value as papers print it.

    Example:
        >>> p_words(0.0312), p_words(2e-7)
        ('p = 0.031', 'p < 0.001')
    """
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


def _margin(contrast: Contrast) -> str:
    return "" if contrast.margin is None else amount(f"{contrast.margin:.4g}", contrast.unit)


def _figures(contrast: Contrast) -> str:
    if contrast.difference is None:
        lacking = "no seed gives both arms" if contrast.paired else "the runs do not give both arms"
        return f"{lacking} a figure for {contrast.title}"
    digits = contrast.digits
    basis = [contrast.basis]
    if contrast.interval is not None:
        low, high = contrast.interval
        adjusted = " adjusted for looking" if contrast.look and contrast.paired else ""
        basis.insert(0, f"95 % interval{adjusted} {low:+z.{digits}f} to {high:+z.{digits}f}")
    if contrast.p_holm is not None:
        basis.append(f"Holm {p_words(contrast.p_holm)}")
    difference = amount(f"{contrast.difference:+z.{digits}f}", contrast.unit)
    return f"{contrast.title} {difference} against {contrast.control} ({', '.join(basis)})"


def _look(contrast: Contrast) -> list[str]:
    """Return a sentence about the last look of an adaptive study and its decision; empty before the first look."""
    words = look_words(contrast)
    return [] if contrast.look is None or words is None else [f"{words[0].upper()}{words[1:]}."]


def _power(contrast: Contrast) -> str:
    n, digits = len(contrast.seeds), contrast.digits
    design = Design(n, None if contrast.paired else len(contrast.control_seeds))
    if not design.enough(contrast.tests):
        few = too_few(design, contrast.tests, can_show=contrast.can_be_shown)
        shown = few[0].upper() + few[1:]
    elif contrast.smallest_detectable is None:
        shown = "A single run has no interval, and can show nothing"
    else:
        effect = amount(f"{contrast.smallest_detectable:.{digits}f}", contrast.unit)
        shown = f"{contrast.basis} show an effect of {effect} with 80 % power"
    if contrast.margin is None or contrast.sd is None:
        return f"{shown}."
    needed = contrast.seeds_needed
    known = min(n, len(contrast.control_seeds) or n)
    if needed is not None and needed <= known:
        return f"{shown}."
    seeds = about(needed, " seeds" if contrast.paired else " runs of each", known=known)
    verb = "would show" if needed is None else "show"
    return f"{shown}. At this spread {seeds} {verb} {_margin(contrast)}."


def _divergences(contrast: Contrast) -> list[str]:
    """Return sentences about diverged trials: their number, their value, and the rate that is not excluded."""
    counts = [(contrast.diverged, contrast.arm), (contrast.control_diverged, contrast.control)]
    who = " and ".join(f"{count} of {arm}" for count, arm in counts if count)
    seeds = "seeds" if contrast.paired else "runs"
    if contrast.chance is None:
        return [f"{seeds.capitalize()} that diverged ({who}) are left out."] if who else []
    decided = contrast.verdict != "inconclusive"
    one, other = contrast.divergence_bound, contrast.control_divergence_bound
    rates = f"{_percent(one)} of {contrast.arm} and {_percent(other)} of {contrast.control}"
    of = f"{contrast.finished} {'' if contrast.paired else f'and {contrast.control_finished} '}{seeds}"
    if not who:
        rate = f"{_percent(one)} of the trials of either arm" if contrast.paired else rates
        return [f"All {of} trained; divergence of up to {rate} is not excluded."] if decided else []
    counted = f"Of {of}, {who} diverged"
    if contrast.both_diverged < max(contrast.diverged, contrast.control_diverged):
        counted += f"; each counts as {amount(f'{contrast.chance:.3g}', contrast.value_unit)}"
    if contrast.both_diverged:
        counted += f"; the {_those(contrast.both_diverged)} nothing of {contrast.title.removeprefix('test ')}"
    if decided:
        counted += f"; divergence of up to {rates} is not excluded"
    return [f"{counted}."]


def _those(n: int) -> str:
    return "one in which both did says" if n == 1 else f"{n} in which both did say"


def _percent(rate: float | None) -> str:
    return "any share" if rate is None else f"{100 * rate:.2g} %"


def _censoring(contrast: Contrast) -> list[str]:
    if not contrast.censored:
        return []
    pairs, runs = len(contrast.seeds), len(contrast.seeds) + len(contrast.control_seeds)
    of = f"{contrast.censored} of {f'{pairs} pairs' if contrast.paired else f'{runs} runs'}"
    if contrast.paired and pairs == 1:
        of = "the only pair"
    return [f"The target was never reached in {of}; there one epoch beyond the end counts."]


def _cautions(contrast: Contrast, covered: Set[CautionId]) -> list[str]:
    reasons = [caution.brief for caution in contrast.cautions if caution.id not in covered]
    return [f"Caution: {'; '.join(reasons)}."] if reasons else []
