"""Outputs of models as plain containers, the only classes that a program can rely on elsewhere; and their names."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from slopewise.errors import ExportError


def plain(output: Any) -> Any:
    """Convert dataclasses and mappings to dicts without None values, and sequences to tuples; tensors stay as they are.

    Example:
        >>> from transformers.modeling_outputs import BaseModelOutput
        >>> plain(BaseModelOutput(last_hidden_state=Tensor([1.0])))
        {'last_hidden_state': tensor([1.])}
    """
    if isinstance(output, Mapping):
        return {str(name): plain(value) for name, value in output.items() if value is not None}
    if dataclasses.is_dataclass(output) and not isinstance(output, type):
        fields = {field.name: getattr(output, field.name) for field in dataclasses.fields(output)}
        return plain(fields)
    if isinstance(output, list | tuple):
        return tuple(plain(value) for value in output if value is not None)
    if isinstance(output, Tensor):
        return output
    raise ExportError(
        f"the model's output holds a {type(output).__name__}: only tensors, and dataclasses, dicts, lists and tuples "
        "of them, can be exported"
    )


def named(output: Any, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of a plain output, named by their position in it: "logits", "hidden_states_0".

    Example:
        >>> [name for name, _ in named({"logits": Tensor(2), "states": (Tensor(1), Tensor(1))})]
        ['logits', 'states_0', 'states_1']
        >>> [name for name, _ in named(Tensor(2))]
        ['output']
    """
    if isinstance(output, Tensor):
        yield prefix or "output", output
    else:
        items = output.items() if isinstance(output, dict) else enumerate(output)
        for place, value in items:
            start = prefix or ("" if isinstance(output, dict) else "output")
            yield from named(value, f"{start}_{place}" if start else str(place))
