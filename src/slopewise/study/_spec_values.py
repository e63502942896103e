"""Types of the values in a spec: numbers, paths, references, names."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from slopewise.study._references import reference_to
from slopewise.support import quoted

LARGEST_SEED = 2**63 - 1  # the largest integer that SQLite stores


class Table(BaseModel):
    """Base class of the tables: unknown keys are refused, and nothing changes afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


# A callable given from Python is turned into a reference that a worker process can import.
Reference = Annotated[str, BeforeValidator(lambda target: reference_to(target) if callable(target) else target)]


def number(value: Any) -> Any:
    """Refuse true and false, which Python counts as 1 and 0, and integers too long for the store or a tensor."""
    if isinstance(value, bool):
        raise PydanticCustomError("no_number", "input should be a number")
    if isinstance(value, int) and value.bit_length() > 64:
        raise PydanticCustomError("too_long", "input should be a number of at most 64 bits")
    return value


def path_of(path: str) -> str:
    """Return the path with the home directory in place of ~."""
    if "\0" in path:
        raise PydanticCustomError("no_path", "a path has no character of code 0")
    try:
        return str(Path(path).expanduser())
    except RuntimeError:
        raise PydanticCustomError("no_path", "no home directory is known of the user that it names") from None


Whole = Annotated[int, BeforeValidator(number)]
Real = Annotated[float, BeforeValidator(number)]
FilePath = Annotated[
    str,
    BeforeValidator(lambda path: os.fspath(path) if isinstance(path, os.PathLike) else path),
    AfterValidator(path_of),
]
ImageSize = Annotated[
    tuple[Annotated[Whole, Field(gt=0)], Annotated[Whole, Field(gt=0)]],
    BeforeValidator(lambda size: (size, size) if isinstance(size, int) and not isinstance(size, bool) else size),
]
Patterns = Annotated[
    tuple[Annotated[str, Field(min_length=1)], ...],
    BeforeValidator(lambda patterns: (patterns,) if isinstance(patterns, str) else patterns),
]


def distinct(names: tuple[str, ...]) -> tuple[str, ...]:
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise ValueError(f"data.classes: {quoted(twice[0])} stands twice; each class has one place")
    return names


DirectoryName = Annotated[str, Field(min_length=1)]
ClassName = Annotated[str, Field(min_length=1), BeforeValidator(lambda name: str(name) if type(name) is int else name)]
