"""Spec of a study as TOML text, from which the same spec is read."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from slopewise.support import printable


def to_toml(spec: Mapping[str, Any]) -> str:
    """Return nested plain data as TOML; None is left out, because TOML has no such value.

    Example:
        >>> print(to_toml({"name": "A", "seeds": [0, 1], "data": {"source": "digits", "path": None}}), end="")
        name = "A"
        seeds = [0, 1]
        <BLANKLINE>
        [data]
        source = "digits"
    """
    return "\n".join(_table(spec, ())).lstrip("\n") + "\n"


def _table(fields: Mapping[str, Any], path: tuple[str, ...]) -> list[str]:
    given = {key: value for key, value in fields.items() if value is not None}
    plain = {key: value for key, value in given.items() if not isinstance(value, Mapping)}
    lines = ["", f"[{'.'.join(path)}]"] if path and (plain or not given) else []
    lines += [f"{_key(key)} = {_value(value)}" for key, value in plain.items()]
    for key, value in given.items():
        if isinstance(value, Mapping):
            lines += _table(value, (*path, _key(key)))
    return lines


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _value(key)


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        pairs = ", ".join(f"{_key(key)} = {_value(item)}" for key, item in value.items() if item is not None)
        return f"{{ {pairs} }}" if pairs else "{}"
    if isinstance(value, (list, tuple)):
        items = [_value(item) for item in value]
        if any(isinstance(item, Mapping) for item in value):  # arms: one per line
            return "[\n" + "".join(f"  {item},\n" for item in items) + "]"
        return f"[{', '.join(items)}]"
    if isinstance(value, float):
        return repr(value)
    # A JSON string is a TOML basic string, but for the delete character, which TOML requires to be escaped.
    return printable(json.dumps(value, ensure_ascii=False), escape=lambda char: f"\\U{ord(char):08x}")
