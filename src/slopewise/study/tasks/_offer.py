"""Metrics that a task offers, and those that a spec chooses of them or adds to them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from slopewise.errors import SpecError, nearest
from slopewise.records import MetricRecord
from slopewise.study._references import describe, is_reference, resolve
from slopewise.study.tasks._scores import Metered, Score, image_mean
from slopewise.study.tasks._torchmetrics import torchmetrics

_PERCENT = 100
_TEXTS, _NUMBERS = ("title", "unit", "better", "definition"), ("scale", "margin", "span", "floor")
_KEYS = ("name", "call", "options", "digits", *_TEXTS, *_NUMBERS)


@dataclass(frozen=True)
class Offer:
    """A metric that a task can be scored by.

    Attributes:
        record: Definition of the metric, without chance where that depends on the data.
        score: Function from the number of classes to a new score.
        floored: True if `record.chance` holds for any data.
    """

    record: MetricRecord
    score: Callable[[int], Score]
    floored: bool = False


def chosen(offers: Mapping[str, Offer], entries: object, place: str = "task.options.metrics") -> dict[str, Offer]:
    """Return the offers that a spec chooses, the primary one first.

    Args:
        offers: Metrics that the task offers, by name.
        entries: List of names and tables, or table of tables by name; docs/tasks.md describes their keys.
        place: Place of the entries in messages.

    Raises:
        SpecError: A name or key is unknown, or a metric's own code cannot be imported.
    """
    if isinstance(entries, Mapping):
        entries = [{"name": name, **_table(entry, f"{place}.{name}")} for name, entry in entries.items()]
    if isinstance(entries, str) or not isinstance(entries, Sequence) or not entries:
        raise SpecError(f"{place}: give a list of metrics, the primary one first, out of {', '.join(offers)}")
    result: dict[str, Offer] = {}
    for entry in entries:
        offer = _offer(offers, entry, place)
        if offer.record.name in result:
            raise SpecError(f"{place}: '{offer.record.name}' stands twice")
        result[offer.record.name] = offer
    return result


def _table(entry: object, place: str) -> Mapping[str, Any]:
    if isinstance(entry, str):
        return {"call": entry}
    if not isinstance(entry, Mapping):
        raise SpecError(f"{place}: give a table, as {{ call = 'module:callable', better = 'higher' }}")
    return entry


def _offer(offers: Mapping[str, Offer], entry: object, place: str) -> Offer:
    table = {"name": entry} if isinstance(entry, str) else dict(_table(entry, place))
    name = table.get("name")
    for key in table:
        if key not in _KEYS:
            raise SpecError(f"{place}: unknown key '{key}'; {nearest(str(key), _KEYS)}")
    if not isinstance(name, str):
        raise SpecError(f"{place}: a metric needs a name, as {{ name = 'mae', call = 'module:callable' }}")
    if "call" in table:
        return _own(name, table, f"{place}.{name}")
    if name not in offers:
        own = ", or your own as { name = ..., call = 'module:callable', better = 'higher' }"
        raise SpecError(f"{place}: unknown metric '{name}'; {nearest(name, list(offers))}{own}")
    if refused := [key for key in ("options", "better", "scale", "unit") if key in table]:
        raise SpecError(f"{place}.{name}: '{refused[0]}' is fixed for a metric of slopewise's own")
    offer = offers[name]
    return replace(offer, record=_stated(offer.record, table, f"{place}.{name}"), floored="floor" in table)


def _own(name: str, table: Mapping[str, Any], place: str) -> Offer:
    call = table["call"]
    if not name.isidentifier() or name == "loss":
        raise SpecError(f"{place}: the name of a metric is an identifier, and not 'loss'")
    if not isinstance(call, str) or not is_reference(call):
        raise SpecError(f"{place}.call: give 'module:callable', not {call!r}")
    if table.get("better") not in ("higher", "lower"):
        raise SpecError(f"{place}.better: say which is better, 'higher' or 'lower'")
    options, target = table.get("options", {}), resolve(call)
    if not isinstance(options, Mapping):
        raise SpecError(f"{place}.options: give a table of keyword arguments, not {options!r}")
    if table.get("unit") == "%" or (table.get("unit") == "points" and table.get("scale") != _PERCENT):
        raise SpecError(f"{place}.unit: a fraction that is printed in percent has unit = 'points' and scale = 100")
    phrase = f"`{call}` over the images of the part"
    record = MetricRecord(name, name, "", table["better"], definition=phrase)
    return Offer(
        _stated(record, table, place),
        lambda _: _score_of(target, options, place),
        floored=table.get("floor") is not None,
    )


def _stated(record: MetricRecord, table: Mapping[str, Any], place: str) -> MetricRecord:
    """Return the record with the fields that a table states."""
    for key in _TEXTS:
        if key in table and not isinstance(table[key], str):
            raise SpecError(f"{place}.{key}: give text, not {table[key]!r}")
    for key in (*_NUMBERS, "digits"):
        kinds = int if key == "digits" else (int, float)
        if key in table and (isinstance(table[key], bool) or not isinstance(table[key], kinds)):
            raise SpecError(f"{place}.{key}: give a number, not {table[key]!r}")
    for key in ("scale", "margin", "span"):
        if table.get(key, 1) <= 0:
            raise SpecError(f"{place}.{key}: give a number above 0, not {table[key]!r}")
    fields = {key: table[key] for key in (*_TEXTS, "scale", "margin", "span", "digits") if key in table}
    record = replace(record, **fields)
    return replace(record, chance=table["floor"] / record.scale) if "floor" in table else record


def _made(make: Callable[..., Any], options: Mapping[str, Any], place: str) -> Any:
    """Return a new metric of a user's class, which leaves pooling over ranks to `Score.pool`."""
    try:
        return make(**options, sync_on_compute=False)
    except Exception as error:  # a user's class can raise anything
        raise SpecError(
            f"{place}: called with `options` and torchmetrics' own arguments (**kwargs) raised {describe(error)}"
        ) from error


def _score_of(target: Callable[..., Any], options: Mapping[str, Any], place: str) -> Score:
    """Return a new score of a user's function (output, target) -> (N,), or of a class of torchmetrics."""
    if inspect.isclass(target) and issubclass(target, torchmetrics().Metric):
        return Metered(_made(target, options, place), lambda output, truth: (output, truth))

    check_call(target, options, place, "the metric")

    def per_image(output: Tensor, truth: Tensor) -> Tensor:
        values = target(output, truth, **options)
        if not isinstance(values, Tensor) or tuple(values.shape) != (len(truth),):
            got = f"shape {tuple(values.shape)}" if isinstance(values, Tensor) else type(values).__name__
            raise SpecError(f"{place}: must return a number for each image, ({len(truth)},), not {got}")
        return values.detach()

    return image_mean(per_image)


def check_call(target: Callable[..., Any], options: Mapping[str, Any], place: str, name: str) -> None:
    """Check that a user's function can be called with an output and a target.

    Raises:
        SpecError: Its parameters are others.
    """
    try:
        signature = inspect.signature(target)
    except ValueError:  # a callable of C code, whose parameters cannot be read
        return
    try:
        signature.bind(None, None, **options)
    except TypeError as error:
        given = "".join(f", {key}=..." for key in options)
        raise SpecError(
            f"{place}: {name} is called with (output, target{given}), which does not fit it: {error}"
        ) from error
