"""The sizes on which a file is verified: the example's, and others that the model takes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from slopewise.errors import ExportError
from slopewise.export._call import Call
from slopewise.export._error import cannot_be_free, module_of, reason
from slopewise.export._program import input_shapes, refusal


@dataclass(frozen=True)
class _Group:
    """Free dimensions that always have the same size, and the range of sizes that the program was traced for."""

    names: tuple[str, ...]
    size: int
    low: int
    high: float
    is_bounded: bool

    def at(self, size: int) -> dict[str, int]:
        return dict.fromkeys(self.names, size)

    def __str__(self) -> str:
        return " and ".join(f"'{name}'" for name in self.names)


def variants(
    model: torch.nn.Module, program: torch.export.ExportedProgram, call: Call
) -> tuple[list[Call], tuple[str, ...]]:
    """Return the example, a call with one sample and larger sizes, and one with a sample more and smaller sizes.

    Args:
        model: Model that is exported, in evaluation mode.
        program: Program that torch.export traced from the model.
        call: The example.

    Returns:
        The calls, and notes on sizes that are always equal or that the model takes only in steps.

    Raises:
        ExportError: the model takes no other size of a free dimension, or takes sizes that the program was not
            traced for.
    """
    groups, batch = _groups(program, call), call.batch
    spatial = [group for group in groups if batch not in group.names]
    notes = [f"{group} are always equal" for group in groups if len(group.names) > 1]
    steps = []
    for group in spatial:
        _check_range(model, call, group)
        step = _step(model, call, group)
        if abs(step) > 1:
            notes.append(f"{group}: the model takes {group.size + step}, and no size nearer to {group.size} was found")
        steps.append(step)
    batches: list[dict[str, int]] = [{}, {}] if spatial else []
    if any(batch in group.names for group in groups) and batch is not None:
        others = sorted({1, call.size + 1} - {call.size})
        batches = [{batch: size} for size, _ in itertools.zip_longest(others, batches, fillvalue=others[0])]
    calls = [call]
    for place, changed in enumerate(batches):
        far = _moved(model, call.resized(changed), spatial, steps, back=place > 0)
        calls.append(far)
    return calls, tuple(notes)


def _groups(program: torch.export.ExportedProgram, call: Call) -> list[_Group]:
    names_of: dict[str, list[str]] = {}
    ranges, bounded = {str(symbol): interval for symbol, interval in program.range_constraints.items()}, set()
    for shape, dims in zip(input_shapes(program), call.free, strict=True):
        for place, dimension in dims.items():
            if not isinstance(shape[place], int):
                names = names_of.setdefault(str(shape[place]), [])
                names += [dimension.name] * (dimension.name not in names)
                if getattr(dimension.hint, "max", None) is not None or getattr(dimension.hint, "min", None) is not None:
                    bounded.add(dimension.name)
    groups = []
    for symbol, names in names_of.items():
        interval = ranges.get(symbol)
        low = int(interval.lower) if interval is not None else 0
        high = float(interval.upper) if interval is not None else math.inf
        is_bounded = not bounded.isdisjoint(names)
        groups.append(_Group(tuple(names), call.sizes[names[0]], low, high, is_bounded))
    return groups


def _check_range(model: torch.nn.Module, call: Call, group: _Group) -> None:
    if group.is_bounded:
        return
    for size, words in ((group.low - 1, f"{group.low} or more"), (group.high + 1, f"up to {group.high:.0f}")):
        if 1 < size < math.inf and refusal(model, call.resized(group.at(int(size)))) is None:
            raise ExportError(
                f"{group} can be {words} in the exported program, and the model takes {int(size)} as well: look for a "
                f"branch on that size in its forward, or say the range, as in torch.export.Dim('{group.names[0]}', "
                "min=..., max=...)"
            )


def _candidates(group: _Group) -> Iterator[int]:
    """Yield steps to other sizes, small ones first: a strided network takes multiples of a divisor of the example's."""
    divisors = {step for step in range(1, group.size + 1) if group.size % step == 0}
    steps = sorted(divisors | {2**power for power in range(7)})
    yield from (step for step in (*steps, *(-step for step in steps)) if group.low <= group.size + step <= group.high)


def _step(model: torch.nn.Module, call: Call, group: _Group) -> int:
    first: tuple[int, Exception] | None = None
    for step in _candidates(group):
        error = refusal(model, call.resized(group.at(group.size + step)))
        if error is None:
            return step
        first = first or (group.size + step, error)
    if first is None:
        raise ExportError(f"{group} can be {group.size} alone: leave it out of dynamic_shapes")
    size, error = first
    raise ExportError(cannot_be_free(str(group), group.size, size, error, model))


def _moved(model: torch.nn.Module, call: Call, groups: list[_Group], steps: list[int], *, back: bool) -> Call:
    """Move every dimension by a different number of steps; below the example's size if `back` is True and possible."""
    if not groups:
        return call

    def by(factor: int) -> tuple[dict[str, int], bool]:
        sizes: dict[str, int] = {}
        for number, (group, step) in enumerate(zip(groups, steps, strict=True), start=1):
            away = abs(factor) * len(groups) - len(groups) + number
            sizes |= group.at(group.size + (step if factor > 0 else -step) * away)
        fits = all(group.low <= sizes[group.names[0]] <= group.high for group in groups)
        return sizes, fits and min(sizes.values()) > 0

    error: Exception | None = None
    for factor in (-1, 2, 1) if back else (1, -1):
        sizes, fits = by(factor)
        if fits:
            error = refusal(model, moved := call.resized(sizes))
            if error is None:
                return moved
    words = _words(groups)
    if error is None:
        raise ExportError(f"{words} have no other sizes in common in their ranges: widen these, or free fewer of them")
    raise ExportError(
        f"{words} cannot be free together, since the model does not take {call.resized(sizes)}"
        f"{module_of(error, model)} ({reason(error)}): free fewer of them"
    )


def _words(groups: list[_Group]) -> str:
    return ", ".join(map(str, groups))
