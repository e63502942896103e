"""Settings that differ from metric to metric, in one text: "higher", or "psnr=higher,loss=lower"."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from slopewise.errors import TableError, nearest
from slopewise.support import quoted


def per_metric(
    setting: str | float | Mapping[str, object] | None, metrics: Sequence[str], option: str
) -> dict[str, object]:
    """Return a setting by metric; a plain one is that of the first metric.

    Args:
        setting: One value, a mapping from metrics to values, or both as text: "higher", "psnr=higher,loss=lower".
        metrics: Names of the metrics, the primary one first.
        option: Name of the setting, for messages.

    Raises:
        TableError: The setting names a metric that is not among them.

    Example:
        >>> per_metric("psnr=higher,loss=lower", ["psnr", "loss"], "better")
        {'psnr': 'higher', 'loss': 'lower'}
        >>> per_metric(100, ["psnr", "loss"], "scale"), per_metric(None, ["psnr"], "unit")
        ({'psnr': 100}, {})
    """
    if setting is None:
        return {}
    if isinstance(setting, str) and "=" in setting:
        pairs = [part.rpartition("=") for part in setting.split(",")]
        setting = {name.strip(): value.strip() for name, _, value in pairs}
    if not isinstance(setting, Mapping):
        return {metrics[0]: setting}
    for name in setting:
        if name not in metrics:
            raise TableError(f"{option} of {quoted(name)}, which is none of the metrics: {nearest(name, metrics)}")
    return dict(setting)
