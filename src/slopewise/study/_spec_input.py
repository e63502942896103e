"""From plain data, TOML and flags to a spec, with errors that name the place and the nearest right key."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from slopewise.errors import SpecError, nearest
from slopewise.study._spec import ArmSpec, StudySpec


def parse_spec(fields: dict[str, Any]) -> StudySpec:
    """Validate plain data into a spec.

    Raises:
        SpecError: one line per fault: where it is, what is wrong, and for an unknown key the nearest right one.

    Example:
        >>> parse_spec({"arms": "relu,prelu_channel", "seeds": 3}).seeds
        (0, 1, 2)
        >>> parse_spec({"train": {"epoch": 3}})
        Traceback (most recent call last):
        ...
        slopewise.errors.SpecError: unknown key 'train.epoch'; did you mean 'epochs'? (known: epochs, batch_size, \
optimizer, lr, momentum, weight_decay, slope_lr_scale, shared_gradient, schedule)
    """
    try:
        return StudySpec.model_validate(fields)
    except ValidationError as error:
        faults = [_words(fault["loc"], fault["type"], fault["msg"], fault["input"]) for fault in error.errors()]
        raise SpecError("; ".join(faults)) from error


def _words(location: tuple[int | str, ...], kind: str, message: str, value: Any) -> str:
    where = ".".join(map(str, location))
    if kind == "extra_forbidden":
        return f"unknown key '{where}'; {nearest(str(location[-1]), _keys_at(location[:-1]))}"
    if kind == "value_error":  # raised by our own validators, whose words say where
        return message.removeprefix("Value error, ")
    return f"{where}: {message[0].lower()}{message[1:]}, but it is {value!r}"


def _keys_at(location: tuple[int | str, ...]) -> list[str]:
    table: type[BaseModel] = StudySpec
    for step in location:
        if isinstance(step, int):
            table = ArmSpec
        elif step in ("data", "model", "train", "hardware", "augment", "convert"):
            table = table.model_fields[step].annotation  # type: ignore[assignment]
    return list(table.model_fields)


def read_spec(path: str | Path) -> dict[str, Any]:
    """The plain data of a TOML file.

    Raises:
        SpecError: the file is absent, or is not TOML.
    """
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise SpecError(f"cannot read the spec '{path}': {error.strerror}; `slopewise init` writes one") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SpecError(f"'{path}' is not TOML: {error}") from error


def override(fields: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    """A copy of plain spec data with one dotted key set.

    Example:
        >>> override({"train": {"lr": 0.1}}, "train.epochs", 3)
        {'train': {'lr': 0.1, 'epochs': 3}}
    """
    head, dot, rest = key.partition(".")
    if not dot:
        return {**fields, head: value}
    inner = fields.get(head, {})
    if not isinstance(inner, dict):
        raise SpecError(f"cannot set '{key}': '{head}' is not a table")
    return {**fields, head: override(inner, rest, value)}
