"""Numbers that a training function gives."""

from __future__ import annotations

from typing import Any

import torch

from slopewise.errors import FunctionError


def number(value: Any, what: str) -> float:
    """Return a number, or a tensor or array of one, as a float.

    Raises:
        FunctionError: It is no number.
    """
    size = getattr(value, "numel", None)
    if isinstance(value, (str, bytes, bool)) or value is None or (callable(size) and size() != 1):
        raise FunctionError(f"gave {_shown(value)} as {what}: it must be one number")
    try:
        return float(value.detach() if isinstance(value, torch.Tensor) else value)
    except (TypeError, ValueError) as error:
        raise FunctionError(f"gave {_shown(value)} as {what}: it must be one number") from error


def _shown(value: object) -> str:
    if isinstance(value, torch.Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    return f"{type(value).__name__} {value!r:.40}" if value is not None else "None"
