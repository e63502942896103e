"""Metrics as the flags of `slopewise run --train` state them."""

from __future__ import annotations

from typing import Any

from slopewise.errors import SpecError


def stated_metrics(metric: str | None, better: str | None, unit: str | None) -> list[dict[str, Any]] | None:
    """Return the metrics that `--metric`, `--better` and `--unit` state, as plain data; None if there is none.

    Args:
        metric: Names, separated by commas.
        better: Direction of the first, "higher" or "lower", or of each: "psnr=higher,mae=lower".
        unit: Unit of the first, or of each.

    Raises:
        SpecError: A metric has no direction, or no metric is named.
        TableError: A direction or unit is about another metric.

    Example:
        >>> stated_metrics("psnr,mae", "psnr=higher,mae=lower", "dB")
        [{'name': 'psnr', 'better': 'higher', 'unit': 'dB'}, {'name': 'mae', 'better': 'lower'}]
    """
    if metric is None:
        if better or unit:
            raise SpecError(f"{'--better' if better else '--unit'} needs the names of the metrics: add --metric NAME")
        return None
    from slopewise.tables import per_metric

    names = [name.strip() for name in metric.split(",")]
    directions, units = per_metric(better, names, "--better"), per_metric(unit, names, "--unit")
    if missing := [name for name in names if name not in directions]:
        each = ",".join(f"{name}=higher" for name in names) if len(names) > 1 else "higher"
        raise SpecError(f"--better: is a higher or a lower {missing[0]} better? Add --better {each}, or lower")
    return [
        {"name": name, "better": directions[name], **({"unit": units[name]} if name in units else {})} for name in names
    ]
