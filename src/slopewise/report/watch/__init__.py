"""Views of a watched run: its page and its summary on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slopewise.support import importer

if TYPE_CHECKING:
    from slopewise.report.watch._figures import thinned as thinned
    from slopewise.report.watch._figures import watch_charts as watch_charts

# Charts are drawn with plotly, for which a summary on a terminal does not wait.
__getattr__ = importer(__name__, {"_figures": ("thinned", "watch_charts")})
