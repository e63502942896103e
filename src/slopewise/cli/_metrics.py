"""Metrics as flags state them."""

from __future__ import annotations

from collections.abc import Iterator

from slopewise.errors import SpecError, nearest


def stated_metrics(metric: str | None, better: str | None, unit: str | None) -> list[dict[str, str]] | None:
    """Return the metrics that `--metric`, `--better` and `--unit` state, as plain data; None if there is none.

    Args:
        metric: Names, separated by commas.
        better: Direction of all, "higher" or "lower", or of each: "psnr=higher,mae=lower".
        unit: Unit of all, or of each.

    Raises:
        SpecError: A metric has no direction, or a direction or unit is about no metric.

    Example:
        >>> stated_metrics("psnr,mae", "psnr=higher,mae=lower", "psnr=dB")
        [{'name': 'psnr', 'better': 'higher', 'unit': 'dB'}, {'name': 'mae', 'better': 'lower'}]
    """
    if metric is None:
        if better or unit:
            raise SpecError(f"{'--better' if better else '--unit'} needs the names of the metrics: add --metric NAME")
        return None
    names = [name.strip() for name in metric.split(",")]
    directions, units = dict(_each(better, names, "--better")), dict(_each(unit, names, "--unit"))
    if missing := [name for name in names if name not in directions]:
        raise SpecError(f"--better: is a higher or a lower {missing[0]} better? Add --better higher or --better lower")
    return [
        {"name": name, "better": directions[name], **({"unit": units[name]} if name in units else {})} for name in names
    ]


def _each(text: str | None, names: list[str], flag: str) -> Iterator[tuple[str, str]]:
    """Yield the value of each metric, from one value for all or from NAME=VALUE pairs."""
    for part in (text or "").split(",") if text else ():
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals:
            yield from ((each, name) for each in names)
        elif name in names:
            yield name, value
        else:
            raise SpecError(f"{flag}: '{name}' is none of the metrics; {nearest(name, names)}")
