"""From plain data, TOML and flags to a spec, with errors that name the place and the nearest right key."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from slopewise.errors import SpecError, closest, nearest
from slopewise.study._bounds import DEEPEST, check_bounds, check_size, one_line, too_deep, where
from slopewise.study._spec import StudySpec
from slopewise.study._spec_designs import FactorSpec, MapSpec, TuneSpec, UntilDecidedSpec
from slopewise.study._spec_tables import ArmSpec, MetricSpec
from slopewise.support import quoted, shortened

_LARGEST_FILE = 2**20  # bytes
_TABLES: dict[int | str, type[BaseModel]] = {  # tables in lists, and optional tables
    "metrics": MetricSpec,
    "arms": ArmSpec,
    "until_decided": UntilDecidedSpec,
    "tune": TuneSpec,
    "map": MapSpec,
    "factors": FactorSpec,
}
_PLAIN = {  # faults that pydantic describes in terms of Python's types
    "model_type": "input should be a table",
    "tuple_type": "input should be a list",
}
_OTHER_WORDS = {"gpu": "cuda", "nvidia": "cuda", "apple": "mps", "metal": "mps"}
_QUOTED = re.compile(r"'([^']+)'")
_COUNT = re.compile(r"^\w+ (should have at (?:least|most) \d+ items?) after validation, not \d+$")
# `tomllib` takes time that grows with the square of the number of names in a dotted key.
_DOTTED = re.compile(
    rf"""(?<![\w-]) (?: (?: [\w-]++ | "[^"\n]*+" | '[^'\n]*+' ) [ \t]*+ \. [ \t]*+ ){{{DEEPEST}}}""", re.VERBOSE
)


def parse_spec(fields: dict[str, Any]) -> StudySpec:
    """Validate plain data into a spec.

    Raises:
        SpecError: The data have faults; the message gives the place of each, and for an unknown key the nearest one.

    Example:
        >>> parse_spec({"arms": "relu,prelu_channel", "seeds": 3}).seeds
        (0, 1, 2)
        >>> parse_spec({"train": {"epoch": 3}})
        Traceback (most recent call last):
        ...
        slopewise.errors.SpecError: unknown key 'train.epoch'; did you mean 'epochs'? (known: function, options, \
epochs, batch_size, optimizer, lr, momentum, weight_decay, slope_lr_scale, slope_weight_decay, shared_gradient, \
schedule)
    """
    check_size(fields)
    return check_bounds(stored_spec(fields))


def stored_spec(fields: dict[str, Any]) -> StudySpec:
    """Validate the spec of an existing study, whose numbers may exceed the bounds for new studies.

    Raises:
        SpecError: The data have faults, as in `parse_spec`.

    Example:
        >>> stored_spec({"margin": 1e-12}).margin
        1e-12
    """
    try:
        return StudySpec.model_validate(fields)
    except ValidationError as error:
        # Without the cause, which Python would print too, with all faults and values, however many and long.
        faults = error.errors(include_url=False)
        places = [fault["loc"] for fault in faults]
        # pydantic reports a list as too short, too, if its values are faulty.
        faults = [
            fault
            for fault in faults
            if fault["type"] != "too_short" or not any(_is_inside(place, fault["loc"]) for place in places)
        ]
        words = (_words(fault["loc"], fault["type"], fault["msg"], fault["input"]) for fault in faults)
        raise SpecError(one_line(words, len(faults))) from None


def _is_inside(place: tuple[int | str, ...], other: tuple[int | str, ...]) -> bool:
    return len(place) > len(other) and place[: len(other)] == other


def _words(location: tuple[int | str, ...], kind: str, message: str, value: Any) -> str:
    if kind == "extra_forbidden":
        return f"unknown key '{where(location)}'; {nearest(str(location[-1]), _keys_at(location[:-1]))}"
    if kind == "value_error":  # raised by our own validators, whose words say where
        return message.removeprefix("Value error, ")
    if kind == "missing":
        return f"{where(location)}: this value is missing"
    if kind == "literal_error" and (meant := _meant(value, message)):
        return f"{where(location)}: did you mean {meant}? {message[0].lower()}{message[1:]}, but it is {quoted(value)}"
    message = _PLAIN.get(kind, f"{message[0].lower()}{message[1:]}")
    message = _COUNT.sub(r"input \1", message)
    return f"{where(location)}: {message}, but it is {quoted(value)}"


def _meant(value: Any, message: str) -> str:
    """Return the words that a value may stand for, of those that pydantic's message quotes; empty if none is near."""
    if not isinstance(value, str):
        return ""
    near = [_OTHER_WORDS[value.lower()]] if value.lower() in _OTHER_WORDS else closest(value, _QUOTED.findall(message))
    return " or ".join(f"'{name}'" for name in near)


def _keys_at(location: tuple[int | str, ...]) -> list[str]:
    table: type[BaseModel] = StudySpec
    for step in location:
        if step in _TABLES:
            table = _TABLES[step]
        elif step in ("data", "task", "model", "train", "hardware", "monitor", "augment", "convert"):
            table = table.model_fields[step].annotation  # type: ignore[assignment]
    return list(table.model_fields)


def read_spec(path: str | Path) -> dict[str, Any]:
    """Return the plain data of a TOML file.

    Raises:
        SpecError: The file is absent, is too large for a spec, or is not TOML.
    """
    try:
        with Path(path).open("rb") as file:
            data = file.read(_LARGEST_FILE + 1)
    except OSError as error:
        raise SpecError(f"cannot read the spec '{path}': {error.strerror}; `slopewise init` writes one") from error
    except ValueError as error:  # a path with a character of code 0
        raise SpecError(f"cannot read the spec '{path}': {error}") from None
    if len(data) > _LARGEST_FILE:
        raise SpecError(f"'{path}' is no spec: it has more than {_LARGEST_FILE:,} bytes; `slopewise init` writes one")
    try:
        return _loaded(data.decode(), f"'{path}'")
    except SpecError:
        raise
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SpecError(f"'{path}' is not TOML: {shortened(str(error), 200)}") from None
    except ValueError:  # more digits than Python reads
        raise SpecError(f"'{path}' holds a number of too many digits: at most 64 bits") from None


def toml_value(text: str, place: str) -> Any:
    """Return a TOML value, or the text itself where it is none: `--set data.source=digits` needs no quotes.

    Example:
        >>> toml_value("[1, 2]", "--set"), toml_value("digits", "--set")
        ([1, 2], 'digits')
    """
    try:
        table = _loaded(f"value = {text}", place)
    except SpecError:
        raise
    except ValueError:
        return text
    return table["value"] if len(table) == 1 else text


def _loaded(text: str, place: str) -> dict[str, Any]:
    if _DOTTED.search(text):
        raise too_deep(place)
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise too_deep(place) from None


def override(fields: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    """Return a copy of plain spec data with one dotted key set.

    Example:
        >>> override({"train": {"lr": 0.1}}, "train.epochs", 3)
        {'train': {'lr': 0.1, 'epochs': 3}}
    """
    if key.count(".") >= DEEPEST:
        raise too_deep(shortened(key, 60))
    head, dot, rest = key.partition(".")
    if not dot:
        return {**fields, head: value}
    inner = fields.get(head, {})
    if not isinstance(inner, dict):
        raise SpecError(f"cannot set '{shortened(key, 60)}': '{shortened(head, 60)}' is not a table")
    return {**fields, head: override(inner, rest, value)}
