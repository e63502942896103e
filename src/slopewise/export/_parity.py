"""Comparison of a file's outputs with the model's, and advice for the case that they differ too much."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from slopewise.errors import ExportError
from slopewise.export._call import Call
from slopewise.export._error import reason
from slopewise.export._program import outputs
from slopewise.export._program import run as run_program
from slopewise.export._report import Parity
from slopewise.export.runtimes import RUNTIMES, Runtime
from slopewise.export.runtimes._base import Exported, Loaded, Run

_ROUGH = 2.0**-6  # a few roundings to bfloat16, of 2⁻⁹ each, add up to less


def check(
    model: torch.nn.Module,
    program: torch.export.ExportedProgram,
    exported: Exported,
    runtimes: Mapping[str, Runtime],
    calls: Sequence[Call],
    tolerance: float,
) -> tuple[tuple[Parity, ...], tuple[Parity, ...]]:
    """Load an exported model into runtimes and verify it there; also measure it at their default precision.

    Args:
        model: Model in evaluation mode.
        program: Program that torch.export traced from the model.
        exported: Files of the exported model.
        runtimes: Runtimes by name.
        calls: The example, and the same call with other sizes.
        tolerance: Largest relative difference allowed; it does not apply to the second result.

    Returns:
        The differences in float32, and those in runtimes with another default precision.
    """
    loaded: dict[Runtime, Loaded] = {}
    for runtime in runtimes.values():
        with _errors_of(runtime, "load"):
            loaded[runtime] = runtime.load(exported)
    proved = prove(model, program, {runtime: one.run for runtime, one in loaded.items()}, calls, tolerance)
    runs = [(runtime, one.default) for runtime, one in loaded.items() if one.default is not None]
    return proved, tuple(measure(runtime, run, call, outputs(model, call)) for runtime, run in runs for call in calls)


def rough(parities: Sequence[Parity]) -> list[str]:
    """Return a warning for each runtime whose default precision is far off."""
    words = []
    for name in dict.fromkeys(parity.runtime for parity in parities):
        worst = max((parity for parity in parities if parity.runtime == name), key=lambda parity: parity.relative)
        if worst.relative > _ROUGH:
            words.append(
                f"{RUNTIMES[name].title} is off by {worst.relative:.0%} on a batch of {worst.batch} at the precision "
                f"that it chooses by default, and right in float32: {RUNTIMES[name].cure}"
            )
    return words


def prove(
    model: torch.nn.Module,
    program: torch.export.ExportedProgram,
    runs: Mapping[Runtime, Run],
    calls: Sequence[Call],
    tolerance: float,
) -> tuple[Parity, ...]:
    """Compare a file's outputs in each runtime with the model's, on the example and on other sizes.

    Args:
        model: Model in evaluation mode.
        program: Program that torch.export traced from the model.
        runs: Function that computes the file's outputs, by runtime.
        calls: The example, and the same call with other sizes.
        tolerance: Largest relative difference allowed.
    """
    parities = []
    for runtime, run in runs.items():
        for call in calls:
            ours = outputs(model, call)
            measured = measure(runtime, run, call, ours)
            if not measured.relative <= tolerance:
                raise ExportError(
                    f"output '{measured.output}' of the file differs from the model's in {runtime.title} by "
                    f"{measured.relative:.1e}, relative to its greatest magnitude, on {call}; {tolerance:g} is "
                    f"allowed. {_where(model, program, runtime, call, ours, tolerance)}"
                )
            parities.append(measured)
    return tuple(parities)


def measure(runtime: Runtime, run: Run, call: Call, ours: Mapping[str, Tensor]) -> Parity:
    """Measure the differences between the model's outputs and a runtime's, whose errors are raised as `ExportError`."""
    with _errors_of(runtime, "run", f" on {call}"):
        theirs = run(call)
    _check_shapes(runtime, call, ours, theirs)
    measured = parity(call.size, list(ours), list(ours.values()), theirs)
    return dataclasses.replace(measured, runtime=runtime.name, sizes=call.sizes)


def _check_shapes(runtime: Runtime, call: Call, ours: Mapping[str, Tensor], theirs: Sequence[Tensor]) -> None:
    title = runtime.title
    if len(ours) != len(theirs):
        raise ExportError(f"the model has {len(ours)} outputs and the file {len(theirs)} in {title}")
    for (output, our), their in zip(ours.items(), theirs, strict=True):
        if our.shape != their.shape:
            raise ExportError(
                f"output '{output}' has shape {tuple(our.shape)} in the model and {tuple(their.shape)} in {title}, for "
                f"{call}: a size is fixed in the model's forward, or on the way to the file; {call.fixing}"
            )


@contextlib.contextmanager
def _errors_of(runtime: Runtime, verb: str, where: str = "") -> Iterator[None]:
    title = runtime.title
    try:
        yield
    except ExportError as error:
        raise ExportError(str(error) if title in str(error) else f"{title}: {error}") from error
    except Exception as error:  # of many classes
        raise ExportError(f"{title} cannot {verb} the file{where}: {reason(error)}") from error


def _where(
    model: torch.nn.Module,
    program: torch.export.ExportedProgram,
    runtime: Runtime,
    call: Call,
    ours: dict[str, Tensor],
    tolerance: float,
) -> str:
    def differs(theirs: Sequence[Tensor]) -> bool:
        same = len(ours) == len(theirs) and all(map(_same_shape, ours.values(), theirs))
        return not same or not parity(call.size, list(ours), list(ours.values()), theirs).relative <= tolerance

    if differs(list(outputs(model, call).values())):
        return "The model itself gives something else when it is called again: look for random numbers in its forward"
    if differs(run_program(program, call)):
        return (
            "The program that torch.export traced differs already: look for branches in the model's forward that "
            "depend on values or sizes, of which it keeps those that the example takes"
        )
    return (
        "The program that torch.export traced agrees with the model, so it is the runtime that computes or rounds "
        f"otherwise: {runtime.doubt}; pass a larger tolerance if that will do, or export parts of the model to "
        "find the layer"
    )


def parity(batch: int, names: Sequence[str], ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> Parity:
    """Return the largest absolute difference, and the largest relative to the greatest magnitude of its output.

    NaNs in the same position are equal, as are equal infinities; compared with anything else they differ infinitely.

    Example:
        >>> parity(1, ["y"], [torch.tensor([0.0, 2.0])], [torch.tensor([0.5, 2.0])])
        Parity(batch=1, absolute=0.5, relative=0.25, output='y', runtime='', sizes={})
    """
    worst = Parity(batch, 0.0, 0.0, names[0] if names else "")
    absolute = 0.0
    for name, our, their in zip(names, ours, theirs, strict=True):
        difference, magnitude = _difference(_comparable(our), _comparable(their))
        absolute = max(absolute, difference)
        relative = difference / magnitude if magnitude else difference
        if relative > worst.relative:
            worst = Parity(batch, absolute, relative, name)
    return Parity(batch, absolute, worst.relative, worst.output)


def _same_shape(ours: Tensor, theirs: Tensor) -> bool:
    return ours.shape == theirs.shape


def _comparable(tensor: Tensor) -> Tensor:
    return (torch.view_as_real(tensor) if tensor.is_complex() else tensor).cpu().double()


def _difference(ours: Tensor, theirs: Tensor) -> tuple[float, float]:
    if not ours.numel():
        return 0.0, 0.0
    same = (ours == theirs) | (ours.isnan() & theirs.isnan())
    apart = torch.where(same, 0.0, (ours - theirs).abs()).nan_to_num(nan=torch.inf, posinf=torch.inf)
    finite = ours[ours.isfinite()].abs()
    return apart.max().item(), finite.max().item() if finite.numel() else 0.0
