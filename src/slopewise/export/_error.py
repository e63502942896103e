"""Errors and warnings of an export, and the wording of their causes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def reason(error: BaseException) -> str:
    r"""Return an exporter's message and the line of code that it names, without its pages of advice.

    Example:
        >>> reason(ValueError("Constraints violated! See TORCH_LOGS.\n  - x is fixed to 4. Use Dim.AUTO."))
        'ValueError: x is fixed to 4'
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    message = lines[0]
    if message.startswith("Constraints violated"):
        message = next((line[2:].split(". ")[0] for line in lines if line.startswith("- ")), message)
    place = next((f", at {line}" for line in lines if line.startswith('File "')), "")
    return f"{type(error).__name__}: {message}{place}"


def module_of(error: BaseException, model: torch.nn.Module) -> str:
    """Return the innermost module that an error was raised in, as ", in 'head' (Linear)"; empty for the model itself.

    Example:
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))
        >>> try:
        ...     model(torch.ones(1, 6))
        ... except RuntimeError as error:
        ...     module_of(error, model)
        ", in '1' (Linear)"
    """
    names = {id(module): name for name, module in model.named_modules()}
    place, traceback = "", error.__traceback__
    while traceback is not None:
        module = traceback.tb_frame.f_locals.get("self")
        if name := names.get(id(module)):
            place = f", in '{name}' ({type(module).__name__})"
        traceback = traceback.tb_next
    return place


def cannot_be_free(names: str, size: int, other: int, error: BaseException, model: torch.nn.Module) -> str:
    """Return the message for dimensions of which the model takes one size and not another."""
    return (
        f"{names} cannot be free, since the model takes {size} and not {other}{module_of(error, model)} "
        f"({reason(error)}): mend that, or leave it out of dynamic_shapes"
    )
