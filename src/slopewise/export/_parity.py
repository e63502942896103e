"""How far a file's outputs are from the model's, and where to look if that is too far."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from slopewise.export._call import Call
from slopewise.export._error import ExportError
from slopewise.export._program import outputs
from slopewise.export._program import run as run_program
from slopewise.export._report import Parity


def prove(
    model: torch.nn.Module,
    program: torch.export.ExportedProgram,
    run: Callable[[Call], Sequence[Tensor]],
    call: Call,
    tolerance: float,
    *,
    dynamic_batch: bool,
) -> tuple[Parity, ...]:
    """Compare a file with its model on the example and, if the batch is dynamic, on two other batch sizes."""
    sizes = [call.size, *({1, call.size + 1} - {call.size} if dynamic_batch else ())]
    found = []
    for size in sizes:
        batch = call.resized(size)
        ours = outputs(model, batch)
        measured = parity(size, list(ours), list(ours.values()), run(batch))
        if not measured.relative <= tolerance:
            raise ExportError(
                f"output '{measured.output}' of the file differs from the model's by {measured.relative:.1e}, relative "
                f"to its greatest magnitude, on a batch of {size}; {tolerance:g} is allowed. "
                f"{_where(model, program, batch, ours, tolerance)}"
            )
        found.append(measured)
    return tuple(found)


def _where(
    model: torch.nn.Module,
    program: torch.export.ExportedProgram,
    call: Call,
    ours: dict[str, Tensor],
    tolerance: float,
) -> str:
    def differs(theirs: Sequence[Tensor]) -> bool:
        return not parity(call.size, list(ours), list(ours.values()), theirs).relative <= tolerance

    if differs(list(outputs(model, call).values())):
        return "The model itself gives something else when it is called again: look for random numbers in its forward"
    if differs(run_program(program, call)):
        return (
            "The program that torch.export traced differs already: look for branches in the model's forward that "
            "depend on values or sizes, of which it keeps those that the example takes"
        )
    return (
        "The program that torch.export traced agrees with the model, so it is the runtime that computes or rounds "
        "otherwise: pass a larger tolerance if that will do, or export parts of the model to find the layer"
    )


def parity(batch: int, names: Sequence[str], ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> Parity:
    """The largest absolute difference, and the largest relative to the greatest magnitude of its output.

    NaNs in the same place are equal, as are equal infinities; against anything else they differ infinitely.

    Example:
        >>> parity(1, ["y"], [torch.tensor([0.0, 2.0])], [torch.tensor([0.5, 2.0])])
        Parity(batch=1, absolute=0.5, relative=0.25, output='y')
    """
    if len(ours) != len(theirs):
        raise ExportError(f"the model has {len(ours)} outputs and the file {len(theirs)}")
    found = Parity(batch, 0.0, 0.0, names[0] if names else "")
    absolute = 0.0
    for name, our, their in zip(names, ours, theirs, strict=True):
        if our.shape != their.shape:
            raise ExportError(
                f"output '{name}' has shape {tuple(our.shape)} in the model and {tuple(their.shape)} in the file, for "
                f"a batch of {batch}: its size is fixed somewhere in the model's forward; pass dynamic_batch=False"
            )
        difference, magnitude = _difference(_comparable(our), _comparable(their))
        absolute = max(absolute, difference)
        relative = difference / magnitude if magnitude else difference
        if relative > found.relative:
            found = Parity(batch, absolute, relative, name)
    return Parity(batch, absolute, found.relative, found.output)


def _comparable(tensor: Tensor) -> Tensor:
    return (torch.view_as_real(tensor) if tensor.is_complex() else tensor).cpu().double()


def _difference(ours: Tensor, theirs: Tensor) -> tuple[float, float]:
    if not ours.numel():
        return 0.0, 0.0
    same = (ours == theirs) | (ours.isnan() & theirs.isnan())
    apart = torch.where(same, 0.0, (ours - theirs).abs()).nan_to_num(nan=torch.inf, posinf=torch.inf)
    finite = ours[ours.isfinite()].abs()
    return apart.max().item(), finite.max().item() if finite.numel() else 0.0
