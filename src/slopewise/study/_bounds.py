"""Bounds of specs: the size of their data, and the numbers that a study can have.

The bounds apply to new specs. Stored studies of earlier versions of slopewise are read without them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from slopewise.errors import SpecError
from slopewise.support import quoted, shortened

if TYPE_CHECKING:
    from slopewise.study._spec import StudySpec

DEEPEST = 32  # nested tables and lists; the spec's own keys need 4
MOST_SEEDS, MOST_ARMS, MOST_TRIALS = 10_000, 1_000, 100_000
_MOST_VALUES, _LONGEST = 200_000, 100_000  # values in a spec; characters of one of its strings
_ROOM = 400  # characters of all faults in a message

# The greatest number of a key, and its unit.
_GREATEST = {
    "data.image_size": (16_384, "pixels a side"),
    "data.memory_gib": (2**20, "GiB"),
    "data.augment.shift": (16_384, "pixels"),
    "train.epochs": (1_000_000, ""),
    "train.batch_size": (10**9, "images"),
    "train.lr": (1e30, ""),  # times the slopes' scale, float32 still holds it
    "train.weight_decay": (1e6, ""),
    "train.slope_lr_scale": (1e6, ""),
    "train.slope_weight_decay": (1e6, ""),
    "hardware.devices": (1024, ""),
    "hardware.threads": (1024, ""),
    "hardware.cpus_per_trial": (1024, ""),
    "hardware.gpus_per_trial": (1024, ""),
    "monitor.every": (10**9, "steps"),
}
_IN_ARMS = ("lr", "slope_lr_scale", "slope_weight_decay", "epochs")  # settings of arms, with the bounds of [train]
_CHARACTERS = {
    "name": 200,
    "data.source": 4096,
    "data.path": 4096,
    "data.parts": 255,
    "data.classes": 255,
    "model.name": 1000,
    "model.checkpoint": 4096,
}


def check_size(fields: Mapping[str, Any]) -> None:
    """Check that plain data are neither too deep nor too large for a spec, before any other check.

    Raises:
        SpecError: The data exceed a bound; the message names the first place.

    Example:
        >>> check_size({"train": {"lr": 0.1}})
        >>> check_size({"name": "x" * 1_000_000})
        Traceback (most recent call last):
        ...
        slopewise.errors.SpecError: name: a text of 1,000,000 characters; a spec takes at most 100,000
    """
    values = 0
    todo: list[tuple[tuple[object, ...], Any]] = [((), fields)]
    while todo:
        place, value = todo.pop()
        if isinstance(value, str):
            if len(value) > _LONGEST:
                length = f"{len(value):,} characters; a spec takes at most {_LONGEST:,}"
                raise SpecError(f"{where(place)}: a text of {length}")
        elif isinstance(value, (Mapping, list, tuple)):
            values += len(value)
            if values > _MOST_VALUES:
                subject = f"{where(place)}: {len(value):,}" if len(value) > _MOST_VALUES else "the spec: too many"
                most = f"a spec takes at most {_MOST_VALUES:,} in all"
                raise SpecError(f"{subject} values; {most}: read long lists in the code that it names")
            if len(place) >= DEEPEST:
                raise too_deep(where(place))
            items = value.items() if isinstance(value, Mapping) else enumerate(value)
            todo += [((*place, key), item) for key, item in items if isinstance(item, (str, Mapping, list, tuple))]


def too_deep(place: str) -> SpecError:
    """Return the error for tables and lists inside each other."""
    return SpecError(f"{place}: more than {DEEPEST} tables or lists inside each other; a spec takes at most {DEEPEST}")


def where(place: Sequence[object]) -> str:
    """Return the dotted path of a value in the spec, shortened if it is long.

    Example:
        >>> where(("arms", 0, "lr")), where(())
        ('arms.0.lr', 'the spec')
    """
    steps = [quoted(step) if isinstance(step, int) else shortened(str(step), 60) for step in place]
    return shortened(".".join(steps), 100) or "the spec"


def one_line(faults: Iterable[str], count: int) -> str:
    """Return faults joined into one line: as many as fit, at least one, and the number of the others.

    Example:
        >>> one_line(["lr: too high", "margin: too low"], count=2)
        'lr: too high; margin: too low'
        >>> one_line(map(str, range(1000, 9999)), count=8999)[-26:]
        '1064; 1065; and 8,933 more'
    """
    shown: list[str] = []
    room = _ROOM
    for fault in faults:
        room -= len(fault) + 2
        if shown and room < 0:
            return f"{'; '.join(shown)}; and {count - len(shown):,} more"
        shown.append(fault)
    return "; ".join(shown)


def check_bounds(spec: StudySpec) -> StudySpec:
    """Return the spec if its size and its numbers are within the bounds.

    Raises:
        SpecError: It is too large, a number is out of its bounds, or options are no plain data.

    Example:
        >>> from slopewise.study._spec import StudySpec
        >>> check_bounds(StudySpec(hardware={"threads": 4096}))
        Traceback (most recent call last):
        ...
        slopewise.errors.SpecError: hardware.threads: at most 1,024, but it is 4096
    """
    if faults := [*_counts(spec), *_numbers(spec), *_texts(spec), *_options(spec)]:
        raise SpecError(one_line(faults, len(faults)))
    return spec


def _counts(spec: StudySpec) -> Iterator[str]:
    arms, seeds = len(spec.arms), len(spec.seeds)
    if arms > MOST_ARMS:
        yield f"arms: {arms:,} of them; a study takes at most {MOST_ARMS:,}"
    if seeds > MOST_SEEDS:
        yield f"seeds: {seeds:,} of them; a study takes at most {MOST_SEEDS:,}"
    if arms <= MOST_ARMS and seeds <= MOST_SEEDS and arms * seeds > MOST_TRIALS:
        yield f"{arms:,} arms with {seeds:,} seeds are {arms * seeds:,} trials; a study takes at most {MOST_TRIALS:,}"


def _numbers(spec: StudySpec) -> Iterator[str]:
    for key, (greatest, unit) in _GREATEST.items():
        yield from _above(key, _value(spec, key), greatest, unit)
    for number, arm in enumerate(spec.arms):
        for key in _IN_ARMS:
            yield from _above(f"arms.{number}.{key}", getattr(arm, key), *_GREATEST[f"train.{key}"])


def _above(place: str, value: Any, greatest: float, unit: str) -> Iterator[str]:
    highest = max(value) if isinstance(value, tuple) else value
    if highest is not None and highest > greatest:
        yield f"{place}: at most {greatest:,.15g}{f' {unit}' if unit else ''}, but it is {quoted(highest)}"


def _texts(spec: StudySpec) -> Iterator[str]:
    for key, longest in _CHARACTERS.items():
        value = _value(spec, key)
        for text in value if isinstance(value, tuple) else (value or "",):
            if len(text) > longest:
                yield f"{key}: at most {longest:,} characters, but it has {len(text):,}: {quoted(text)}"
    for arm in spec.arms:
        if len(arm.activation) > _CHARACTERS["model.name"]:
            yield f"arm '{arm.name}': an activation has at most {_CHARACTERS['model.name']:,} characters"


def _options(spec: StudySpec) -> Iterator[str]:
    tables = {name: getattr(spec, name).options for name in ("data", "task", "model", "train")}
    tables = {f"{name}.options": table for name, table in tables.items()}
    tables |= {f"arms.{number}.options": arm.options for number, arm in enumerate(spec.arms) if arm.options}
    check_size(tables)  # the spec may have been made by its class, unchecked
    for place, table in tables.items():
        yield from _not_plain((place,), table)


def _not_plain(place: tuple[object, ...], value: Any) -> Iterator[str]:
    """Yield a description of each value that a study cannot store, or that workers would receive changed."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                yield f"{where(place)}: keys of options are text, but one is {quoted(key)}"
            yield from _not_plain((*place, key), item)
    elif isinstance(value, (list, tuple)):
        for number, item in enumerate(value):
            yield from _not_plain((*place, number), item)
    elif isinstance(value, float):
        if not math.isfinite(value):
            yield f"{where(place)}: options hold finite numbers, but it is {value}"
    elif isinstance(value, int):
        if value.bit_length() > 64:
            yield f"{where(place)}: whole numbers have at most 64 bits, but it is {quoted(value)}"
    elif isinstance(value, str):
        if not _encodes(value):
            yield f"{where(place)}: {quoted(value)} has half of a surrogate pair, which no file can hold"
    elif value is not None:
        yield (
            f"{where(place)}: options hold text, numbers, true or false, lists and tables, but it is "
            f"{quoted(value)} ({type(value).__name__}): name it in text, and let your code make it"
        )


def _value(spec: StudySpec, key: str) -> Any:
    value: Any = spec
    for step in key.split("."):
        value = getattr(value, step)
    return value


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
