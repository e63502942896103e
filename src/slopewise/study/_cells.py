"""Cells of a study: trials under settings that differ from the study's own, and the spec of each trial."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from slopewise.errors import SpecError, nearest
from slopewise.events import TrialKey
from slopewise.records import CellRecord, TrialRecord
from slopewise.study._references import is_reference
from slopewise.study._spec_input import override, stored_spec
from slopewise.support import quoted

if TYPE_CHECKING:
    from slopewise.study._spec import StudySpec
    from slopewise.study._spec_designs import FactorSpec, MapSpec
    from slopewise.study._spec_tables import ArmSpec

FIRST_TUNING_SEED = 1_000_000
LEARNED = ("prelu_shared", "prelu_channel")  # slopewise's activations with the option `init`
DESIGNS = ("until_decided", "tune", "map", "factors")
_ARM = "arm."


def cell_key(settings: Mapping[str, Any]) -> str:
    """Return the key of a cell: its settings, sorted, in the form of the inside of a TOML inline table.

    Example:
        >>> cell_key({"train.lr": 0.1, "model.options.batch_norm": True})
        'model.options.batch_norm = true, train.lr = 0.1'
    """
    return ", ".join(f"{key} = {_toml(settings[key])}" for key in sorted(settings))


def _toml(value: Any) -> str:
    """Return a value in TOML: as JSON, but with non-ASCII characters kept and the control character 0x7f escaped."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def settings_of(key: str) -> dict[str, Any]:
    """Return the settings of a cell, by dotted key, given its key.

    Example:
        >>> settings_of("arm.options.init = 0.5, train.lr = 0.1")
        {'arm.options.init': 0.5, 'train.lr': 0.1}
    """
    return dict(_flat(tomllib.loads(f"cell = {{{key}}}")["cell"]))


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def spec_of(spec: StudySpec, trial: TrialKey) -> StudySpec:
    """Return the spec of a trial: the study's spec with the tuned rates and the settings of the trial's cell.

    A learning rate set by the cell applies to all arms, and replaces tuned rates and those of the arms. Settings with
    the prefix `arm.` apply only to the trial's arm.

    Raises:
        SpecError: The spec is not valid with these settings.

    Example:
        >>> from slopewise.study._spec import StudySpec
        >>> trial = TrialKey("prelu_channel", 0, "arm.options.init = 0.5")
        >>> [arm.options for arm in spec_of(StudySpec(arms="relu,prelu_channel"), trial).arms]
        [{}, {'init': 0.5}]
    """
    settings, rates = settings_of(trial.cell), dict[str, float | None](trial.rates)
    if not settings and not rates:
        return spec
    fields = spec.model_dump(mode="json") | dict.fromkeys(DESIGNS[:-1]) | {DESIGNS[-1]: ()}
    own = {key.removeprefix(_ARM): value for key, value in settings.items() if key.startswith(_ARM)}
    if "train.lr" in settings:
        rates = dict.fromkeys((arm.name for arm in spec.arms), None)
    changes = {name: {"lr": rate} for name, rate in rates.items()}
    changes[trial.arm] = changes.get(trial.arm, {}) | own
    fields["arms"] = [_changed(arm, changes.get(arm["name"], {})) for arm in fields["arms"]]
    fields = _changed(fields, {key: value for key, value in settings.items() if not key.startswith(_ARM)})
    try:
        return stored_spec(fields)
    except SpecError as error:
        raise SpecError(f"with {trial.cell or 'the tuned rates'}: {error}") from None


def failed(trial: TrialKey, error: str) -> TrialRecord:
    """Return the record of a failed trial."""
    return TrialRecord(trial.arm, trial.seed, "failed", error=error, cell=trial.cell)


def _changed(fields: dict[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    for key, value in settings.items():
        fields = override(fields, key, value)
    return fields


def tuned_arms(spec: StudySpec) -> tuple[ArmSpec, ...]:
    """Return the arms whose learning rate is tuned: all arms that do not set `lr`; empty without [tune]."""
    return tuple(arm for arm in spec.arms if arm.lr is None) if spec.tune else ()


def designed_cells(spec: StudySpec) -> tuple[CellRecord, ...]:
    """Return the cells of the sensitivity map and of the factors.

    Raises:
        SpecError: A design names an arm that the study does not have.
    """
    cells = [*_map_cells(spec, spec.map)] if spec.map else []
    return tuple(cells + [cell for factor in spec.factors for cell in _factor_cells(spec, factor)])


def check_designs(spec: StudySpec) -> StudySpec:
    """Check that the designs of a spec can be carried out, and return the spec.

    Raises:
        SpecError: A design cannot be carried out; the message names it and the reason.
    """
    if spec.train.function is not None and (spec.tune or spec.map):
        raise SpecError(
            f"{'tune' if spec.tune else 'map'}: a train.function sets its own learning rate: cross "
            "`train.options.NAME` with the arms in [[factors]] instead"
        )
    if spec.tune:
        if not tuned_arms(spec):
            raise SpecError("tune: every arm sets its own learning rate (lr), so there is nothing to tune")
        if clash := sorted({*spec.seeds} & {*range(FIRST_TUNING_SEED, FIRST_TUNING_SEED + spec.tune.seeds)}):
            raise SpecError(f"seeds: {clash[0]} is reserved for tuning, and cannot be a seed of the study")
    for cell in designed_cells(spec):
        for arm in cell.arms:
            spec_of(spec, TrialKey(arm, cell.seeds[0], cell.key))
    return spec


def _map_cells(spec: StudySpec, design: MapSpec) -> Iterator[CellRecord]:
    names = design.arms or tuple(arm.name for arm in spec.arms if arm.name == spec.control or _starts_anew(arm))
    arms = _arms(spec, names, "map.arms")
    learned = tuple(arm.name for arm in arms if arm.activation in LEARNED or is_reference(arm.activation))
    fixed = tuple(arm.name for arm in arms if arm.name not in learned)
    seeds = spec.seeds[: design.seeds]
    for lr in design.lr:
        if fixed:
            yield _cell({"train.lr": lr}, "map", fixed, seeds)
        for init in design.init if learned else ():
            yield _cell({"train.lr": lr, "arm.options.init": init}, "map", learned, seeds)


def _starts_anew(arm: ArmSpec) -> bool:
    """Return True for an arm with slopewise's learned slopes that does not start from another arm."""
    return arm.activation in LEARNED and arm.start is None


def _factor_cells(spec: StudySpec, factor: FactorSpec) -> Iterator[CellRecord]:
    names = factor.arms or tuple(arm.name for arm in spec.arms)
    arms = tuple(arm.name for arm in _arms(spec, names, f"factors, {factor.setting}: arms"))
    seeds = spec.seeds[: factor.seeds or 10]
    for value in factor.values:
        yield _cell({factor.setting: value}, "factors", arms, seeds)


def _cell(settings: dict[str, Any], role: Any, arms: tuple[str, ...], seeds: tuple[int, ...]) -> CellRecord:
    return CellRecord(cell_key(settings), settings, (role,), arms, seeds)


def _arms(spec: StudySpec, names: tuple[str, ...], place: str) -> list[ArmSpec]:
    available = {arm.name for arm in spec.arms}
    if unknown := [name for name in names if name not in available]:
        raise SpecError(f"{place}: no arm is called {quoted(unknown[0])}; {nearest(unknown[0], available)}")
    return [arm for arm in spec.arms if arm.name in names]
