"""Studies and watched loops while they run, as pages on this machine. `make_app` is the server's application."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slopewise.live._state import stalled as stalled
from slopewise.support import importer

if TYPE_CHECKING:
    from slopewise.live._app import make_app as make_app
    from slopewise.live._loop import Loop as Loop
    from slopewise.live._server import serve as serve
    from slopewise.live._study import Study as Study

# Pages are drawn with plotly, for which a status does not wait.
__getattr__ = importer(
    __name__, {"_app": ("make_app",), "_loop": ("Loop",), "_server": ("serve",), "_study": ("Study",)}
)
