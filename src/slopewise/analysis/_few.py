"""Cautions about numbers of seeds that are too small to show an effect, whatever the values."""

from __future__ import annotations

from slopewise.analysis._looks import LookDesign
from slopewise.analysis._pairs import Sample
from slopewise.analysis._power import Design, seeds_floor
from slopewise.analysis._results import Caution
from slopewise.analysis._sequential import first_deciding_look


def few_cautions(arm: str, control: str, sample: Sample, *, tests: int, can_show: bool) -> tuple[Caution, ...]:
    """Return a caution if a contrast has too few values, and another one if too few of its trials trained.

    Args:
        arm: Name of the arm.
        control: Name of the control.
        sample: Values of the contrast.
        tests: Number of contrasts that share the error rate.
        can_show: True if this number of values could be enough once other arms are significant.
    """
    design = sample.design
    if isinstance(design, LookDesign):
        few = too_few_at_look(design, tests, can_show=can_show)
        cautions = [Caution("too-few-seeds", few, few)] if few else []
    elif not sample.decides:
        brief = f"{arm} is judged only after all {sample.looks[-1]} seeds"
        text = f"{brief}: earlier looks need paired differences, and its runs are not paired with the control's"
        return (Caution("unpaired-looks", text, brief),)
    elif design.arm and not design.enough(tests):
        text = too_few(design, tests, can_show=can_show, absence=True)
        return (Caution("too-few-seeds", text, text),)
    else:
        cautions = []
    if sample.decides and design.arm and not sample.converged.enough(tests):
        floor = seeds_floor(tests, paired=design.control is None)
        if design.control is None:
            few = f"both trials trained in only {sample.converged.arm} of {design.arm} pairs, and below {floor}"
        else:
            trained = f"{sample.converged.arm} runs of {arm} and {sample.converged.control} of {control}"
            few = f"only {trained} trained, and below {floor} of each"
        text = f"{few} no practical effect cannot be shown"
        cautions.append(Caution("too-few-converged", text, text))
    return tuple(cautions)


def too_few(design: Design, tests: int, *, can_show: bool, absence: bool = False) -> str:
    """Describe what a number of pairs or runs below the floor cannot show.

    Args:
        design: Number of pairs, or numbers of runs of both arms.
        tests: Number of contrasts that share the error rate.
        can_show: True if this number could be enough once other arms are significant.
        absence: True to say as well that the absence of an effect cannot be shown.

    Example:
        >>> too_few(Design(5), 4, can_show=False)
        '5 seeds cannot show any effect; use at least 8'
        >>> too_few(Design(3, 4), 4, can_show=False, absence=True)
        '3 and 4 runs can show neither an effect nor that there is none; use at least 5 of each'
    """
    floor = seeds_floor(tests, paired=design.control is None)
    if design.control is None:
        seeds, enough = "1 seed" if design.arm == 1 else f"{design.arm} seeds", f"{floor}"
    else:
        seeds, enough = f"{design.arm} and {design.control} runs", f"{floor} of each"
    if can_show:
        fault = "can show an effect only once another arm's is shown"
        fault += ", and cannot show that there is none" * absence
    else:
        fault = "can show neither an effect nor that there is none" if absence else "cannot show any effect"
    return f"{seeds} {fault}; use at least {enough}"


def too_few_at_look(design: LookDesign, tests: int, *, can_show: bool) -> str | None:
    """Describe what the last completed look of an adaptive study cannot show; None if it has enough pairs.

    Args:
        design: Pairs at the look.
        tests: Number of contrasts that share the error rate.
        can_show: True if the look could show an effect once other arms are significant.

    Example:
        >>> looks, places = (10, 16, 24, 40), tuple(range(10))
        >>> too_few_at_look(LookDesign(10, look=10, looks=looks, places=places), 4, can_show=False)
        'the look after 10 seeds cannot show any effect (that after 16 can)'
        >>> too_few_at_look(LookDesign(7, looks=looks), 4, can_show=False)
        'nothing is decided before the first look, after 10 seeds'
    """
    if design.look is None:
        return f"nothing is decided before the first look, after {design.looks[0]} seeds"
    if design.enough(tests):
        return None
    floor = first_deciding_look(design.looks, tests)
    pairs = "" if design.arm == design.look else f", with {design.arm} pairs,"
    look = f"the look after {design.look} seeds{pairs}"
    if can_show:
        return f"{look} can show an effect only once another arm's is shown"
    later = f" (that after {floor} can)" if floor is not None and floor > design.look else ""
    return f"{look} cannot show any effect{later}"
