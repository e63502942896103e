"""Operators that the step times rest on, in sentences that the terminal and the page share."""

from __future__ import annotations

from slopewise.analysis import Analysis
from slopewise.drawing import listing, number


def operator_notes(analysis: Analysis) -> list[str]:
    """Return the cost of the steps with stock PyTorch instead of the compiled kernels, and the arms not timed so.

    The list is empty for networks without slopewise's layers, and for records of a slopewise that did not time them.

    Example:
        >>> from slopewise.analysis import analyse
        >>> from slopewise.testing import synthetic_study
        >>> operator_notes(analyse(synthetic_study(("relu", "prelu_shared"), seeds=3)))
        ['Step times are with the compiled kernels; with stock PyTorch: prelu_shared 1.56×.']
    """
    costs = [f"{arm.arm} {number(arm.stock_cost_ratio, 2)}×" for arm in analysis.arms if arm.stock_cost_ratio]
    notes = []
    if costs:
        notes.append(f"Step times are with the compiled kernels; with stock PyTorch: {listing(costs)}.")
    reasons = dict.fromkeys(arm.stock_reason for arm in analysis.arms if arm.stock_reason)
    for reason in reasons:
        arms = [arm.arm for arm in analysis.arms if arm.stock_reason == reason]
        notes.append(f"Steps of {listing(arms)} were not timed with and without the compiled kernels: {reason}.")
    return notes
