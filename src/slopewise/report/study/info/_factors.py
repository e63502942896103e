"""Effect of each arm as a function of a factor: its contrast with the control at each value of the setting."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from slopewise.analysis import Analysis, Contrast, analyse
from slopewise.records import CellRecord, StudyRecord

OWN = "as in the study"  # name of the study's own value if the spec does not give it


@dataclass(frozen=True, slots=True)
class Level:
    """Contrasts at one value of a factor.

    Attributes:
        name: Value of the factor, as text.
        own: True if it is the study's own value.
        contrasts: Contrasts with the control by arm; arms without values to compare are left out.
    """

    name: str
    own: bool
    contrasts: dict[str, Contrast]


@dataclass(frozen=True, slots=True)
class FactorInfo:
    """Factor crossed with the arms.

    Attributes:
        setting: Dotted key of the setting.
        levels: Values of the factor: numbers ascending, other values in the spec's order after the study's own.
        arms: Arms with a contrast at some value other than the study's own.
        margin: Smallest difference that matters.
    """

    setting: str
    levels: tuple[Level, ...]
    arms: tuple[str, ...]
    margin: float


def factor_infos(study: StudyRecord, analysis: Analysis) -> tuple[FactorInfo, ...]:
    """Return the factors of a study that have any contrast.

    Example:
        >>> from slopewise.testing import synthetic_study, with_cells
        >>> study = with_cells(synthetic_study(("relu", "prelu"), seeds=4), factors={"train.epochs": [6, 24]}, seeds=4)
        >>> [(level.name, level.own) for level in factor_infos(study, analyse(study))[0].levels]
        [('6', False), ('12', True), ('24', False)]
    """
    by_setting: dict[str, list[CellRecord]] = {}
    for cell in study.cells_of("factors"):
        if len(cell.settings) == 1 and study.control in cell.arms:
            by_setting.setdefault(next(iter(cell.settings)), []).append(cell)
    infos = (_factor(study, analysis, setting, cells) for setting, cells in by_setting.items())
    return tuple(info for info in infos if info.arms)


def _factor(study: StudyRecord, analysis: Analysis, setting: str, cells: list[CellRecord]) -> FactorInfo:
    own = _own(study.spec, setting)
    levels = [(own, Level(OWN if own is None else json.dumps(own), own=True, contrasts=_by_arm(analysis)))]
    for cell in cells:
        value, inside = cell.settings[setting], analyse(study.in_cell(cell))
        levels.append((value, Level(json.dumps(value), own=False, contrasts=_by_arm(inside))))
    if all(isinstance(value, (int, float)) and not isinstance(value, bool) for value, _ in levels):
        levels.sort(key=lambda level: level[0])
    elsewhere = {arm for _, level in levels if not level.own for arm in level.contrasts}
    arms = tuple(arm for arm in study.arms if arm in elsewhere)
    return FactorInfo(setting, tuple(level for _, level in levels), arms, study.margin)


def _by_arm(analysis: Analysis) -> dict[str, Contrast]:
    return {contrast.arm: contrast for contrast in analysis.primary if contrast.seeds}


def _own(spec: Mapping[str, Any], setting: str) -> Any:
    """Return the study's own value of a setting; None if the spec does not give it, or if its arms differ in it."""
    *tables, last = setting.split(".")
    roots = spec.get("arms", ()) if tables[:1] == ["arm"] else [spec]
    values = [_inside(root, (*tables[tables[:1] == ["arm"] :], last)) for root in roots]
    return values[0] if values and all(value == values[0] for value in values) else None


def _inside(table: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        if not isinstance(table, Mapping):
            return None
        table = table.get(name)
    return table
